"""What ``train_gpt2.py`` is made of: the text and its tokens, and two sides that train."""
