"""tacolab: the study pipeline and the codec of text-guided neural image compression."""
