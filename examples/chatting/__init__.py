"""What ``chat.py`` is made of: a model as a package carries it, made into a Hugging Face folder."""
