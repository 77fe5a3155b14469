"""The page and what people read: cells of tables, the gallery, words with their weights."""
