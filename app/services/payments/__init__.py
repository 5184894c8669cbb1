"""WeChat Pay: orders, what it tells us, what we ask it, and refunds."""
