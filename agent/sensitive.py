"""What is never inferred about a person: health, sexuality, politics, religion, ethnic origin.

A feature with one of these words is not counted, so it can become neither tag nor persona nor reason. It is a list, so
it is incomplete by nature; it can be read and extended here, in one place. Source: the special categories of personal
data of GDPR, article 9.
"""

from __future__ import annotations

import re

WORDS = """
    abortion addict addiction aids alcoholic alcoholism alzheimer anorexia anxiety asperger autism autistic
    bipolar bulimia cancer chemotherapy dementia depressed depression diabetes diabetic disabled disability
    disorder epilepsy hiv incontinence infertility insulin menopause mental obese obesity overdose parkinson
    pregnancy pregnant psychiatric schizophrenia suicidal suicide therapy tumor wheelchair bisexual erotic erotica
    fetish gay gays hentai homosexual lesbian lesbians lgbt lgbtq nude porn porno pornographic queer sex sexual
    sexuality sexy trans transgender transsexual yaoi yuri anarchist communism communist conservative democrat
    democrats election fascism fascist leftist liberal nationalist partisan political politics propaganda
    republican republicans socialism socialist atheism atheist baptist bible biblical buddhism buddhist catholic
    catholicism christian christianity church devotional evangelical faith gospel hindu hinduism islam islamic
    jesus jewish judaism koran mormon mosque muslim pagan pastor prayer prayers quran rabbi religion religious
    sermon spiritual synagogue torah worship aboriginal arab asian black-owned caucasian ethnic ethnicity hispanic
    indigenous latino latina racial roma romani
""".split()  # noqa: SIM905  (a readable block of words)
CHINESE = (
    "怀孕",
    "抑郁",
    "焦虑症",
    "癌",
    "艾滋",
    "糖尿病",
    "残疾",
    "同性恋",
    "色情",
    "情色",
    "性爱",
    "政治",
    "党",
    "宗教",
    "基督",
    "佛教",
    "伊斯兰",
    "穆斯林",
    "天主教",
    "民族",
    "种族",
)
PATTERN = re.compile(rf"\b(?:{'|'.join(WORDS)})\b|{'|'.join(CHINESE)}", re.IGNORECASE)


def sensitive(text: str) -> bool:
    """Whether a feature or a tag name touches what must not be inferred."""
    return bool(PATTERN.search(text))
