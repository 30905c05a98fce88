"""What ``finetune_reviews.py`` is made of: the data, and two sides that train."""
