"""What people read: the page with its gallery, and every table in words and rounded numbers.

`html` fills the templates that lie here; `columns` says what each column is called.
"""
