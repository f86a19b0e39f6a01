"""Answers by image from the catalogue of Kaggle's "Fashion Product Images", its styles.csv, to standard output.

What cannot be seen (season, year) is not asked, nor the article type: that is the class. The catalogue needs a column
`split`, train or test, for the folders of the images.
"""

import sys

import pandas as pd

rows = pd.read_csv(sys.argv[1], dtype=str).fillna("")
is_one_of = {
    "Is it mainly black?": ("colorgroup", ["Black"]),
    "Is it mainly white?": ("colorgroup", ["White"]),
    "Is it mainly blue?": ("colorgroup", ["Blue"]),
    "Is it mainly brown?": ("colorgroup", ["Brown"]),
    "Is it mainly grey?": ("colorgroup", ["Grey"]),
    "Is it mainly red or pink?": ("colorgroup", ["Red", "Pink"]),
    "Is it mainly green?": ("colorgroup", ["Green"]),
    "Is it mainly purple?": ("colorgroup", ["Purple"]),
    "Is it made for women or girls?": ("gender", ["Women", "Girls"]),
    "Is it made for men or boys?": ("gender", ["Men", "Boys"]),
    "Is it made for sports?": ("usage", ["Sports"]),
    "Is it made for formal occasions?": ("usage", ["Formal"]),
    "Is it ethnic wear?": ("usage", ["Ethnic"]),
    "Is it a piece of clothing?": ("masterCategory", ["Apparel"]),
    "Is it worn on the feet?": ("masterCategory", ["Footwear"]),
    "Is it worn on the upper body?": ("subCategory", ["Topwear"]),
    "Is it worn on the legs?": ("subCategory", ["Bottomwear"]),
    "Is it a closed shoe?": ("subCategory", ["Shoes"]),
    "Can things be put into it?": ("subCategory", ["Bags", "Wallets"]),
}
answers = pd.DataFrame(
    {question: rows[name].isin(values).astype(int) for question, (name, values) in is_one_of.items()}
)
unknown = rows[["colorgroup", "usage"]].eq("")
for question, (name, _) in is_one_of.items():
    if name in unknown:
        answers[question] = answers[question].mask(unknown[name])
folder = rows["articleType"].str.lower().str.replace(" ", "_")
answers.insert(0, "path", rows["split"] + "/" + folder + "/" + rows["file"])
print(answers.to_csv(index=False), end="")
