"""How a name sounds, and how people type what they heard."""

import pytest

from app import names


@pytest.mark.parametrize(
    ("name", "sound", "initials"),
    [
        ("王小芳", "wang xiao fang", "wxf"),
        # Surnames that sound otherwise than the word,
        ("曾小乐", "zeng xiao le", "zxl"),
        ("单雄信", "shan xiong xin", "sxx"),
        ("任解放", "ren jie fang", "rjf"),
        ("区解", "ou jie", "oj"),
        ("乐华", "yue hua", "yh"),
        ("阚清", "kan qing", "kq"),
        # of two characters,
        ("万俟卨", "mo qi xie", "mqx"),
        ("单于小单", "chan yu xiao dan", "cyxd"),
        ("尉迟恭", "yu chi gong", "ycg"),
        ("长孙无忌", "zhang sun wu ji", "zswj"),
        ("欧阳修", "ou yang xiu", "oyx"),
        # and a word that is a surname is one only before a given name.
        ("乐", "le", "l"),
        # A word of the dictionary is heard as a word, characters that make none one by one.
        ("王重阳", "wang chong yang", "wcy"),
        ("王重芳", "wang zhong fang", "wzf"),
        # ü is v, as keyboards have it.
        ("吕布", "lv bu", "lb"),
        ("女娲", "nv wa", "nw"),
        # Names of other peoples: the dot, however it is written, is not heard.
        ("阿依古丽·买买提", "a yi gu li mai mai ti", "ayglmmt"),
        ("阿依古丽•买买提", "a yi gu li mai mai ti", "ayglmmt"),
        ("阿依古丽・买买提", "a yi gu li mai mai ti", "ayglmmt"),
        ("阿依古丽．买买提", "a yi gu li mai mai ti", "ayglmmt"),
        ("Mary Ann O'Brien", "mary ann o brien", "maob"),
        ("José Müller", "jose muller", "jm"),
        ("Ａｎｎ　Lee", "ann lee", "al"),
        # Lists are untidy.
        (" 王　芳 ", "wang fang", "wf"),
        ("李*明", "li ming", "lm"),
        ("李〇", "li ling", "ll"),
        ("", "", ""),
        ("·", "", ""),
    ],
)
def test_a_name_has_a_sound(name: str, sound: str, initials: str) -> None:
    assert names.pinyin(name) == sound
    assert names.initials(names.pinyin(name)) == initials


@pytest.mark.parametrize(
    "alike",
    [
        ("张小峰", "張小峯", "章晓锋"),
        ("吕秀英", "呂秀英"),
        ("单红", "單紅", "珊红"),
        ("区丽华", "區麗華", "欧丽华"),
        ("长孙云", "長孫雲"),
        ("阚云", "闞雲", "坎云"),
        ("员芳", "員芳"),
        ("曹娥", "曺娥"),
        ("李 明", "李明", "里名"),
    ],
    ids=lambda alike: alike[0],
)
def test_variant_and_traditional_characters_and_homophones_sound_alike(alike: tuple[str, ...]) -> None:
    assert len({names.pinyin(name) for name in alike}) == 1


def test_a_very_long_name_and_an_unknown_character_are_no_trouble() -> None:
    assert names.pinyin("王" * 500) == " ".join(["wang"] * 500)
    assert names.pinyin("王\U0003106c").startswith("wang")


@pytest.mark.parametrize(
    ("typed", "sound"),
    [
        ("lü bu", "lv bu"),
        ("Lǚ Bù", "lv bu"),
        ("lyu bu", "lv bu"),
        ("LYUBU", "lvbu"),
        ("lu: bu", "lv bu"),
        ("lv bu", "lv bu"),
        ("lüe", "lve"),
        ("lyue", "lve"),
        ("nyuwa", "nvwa"),
        ("nü wa", "nv wa"),
        # 心宇 typed in one word is not 西女, nor is 刘 or 罗 touched.
        ("xinyu", "xinyu"),
        ("xin yu", "xin yu"),
        ("liu", "liu"),
        ("luo", "luo"),
        ("zhāng xiǎo", "zhang xiao"),
        ("xi'an", "xian"),
        ("  zhang   xiao ", "zhang xiao"),
        ("", ""),
    ],
)
def test_what_people_type_is_what_is_stored(typed: str, sound: str) -> None:
    assert names.typed(typed) == sound
