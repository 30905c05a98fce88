"""What the examples that train share: data that packages carry, two sides, a run, and a picture of it."""
