"""What ``finetune_reviews.py`` is made of: the data, two sides that train, and a picture."""
