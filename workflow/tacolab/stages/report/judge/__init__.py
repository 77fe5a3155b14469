"""What the study claims, and what the measurements say of it."""
