"""The report on fields: what is measured of them, its tables, figures and page."""
