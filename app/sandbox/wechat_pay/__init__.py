"""A stand-in for api.mch.weixin.qq.com, WeChat Pay's API v3, that keeps its rules: signatures both ways, orders made
once, refunds that end later, notices that come again, files of the day with fees and payouts.

The paths under /control/ play the payer's phone, the bank and WeChat's control room. Nothing is kept beyond the
instance. Development only: the keys beside it are known to everyone.
Source: pay.weixin.qq.com, API v3.
"""

from app.sandbox.wechat_pay.desk import create_wechat_pay
from app.sandbox.wechat_pay.signatures import Merchant

__all__ = ["Merchant", "create_wechat_pay"]
