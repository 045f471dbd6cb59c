"""The live picture: one page that shows an audience what happens. It only reads."""
