"""Classification of images: where they come from and how they are prepared."""
