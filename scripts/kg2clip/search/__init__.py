"""Stage `search`: queries in, `search/candidates.parquet` out: pictures found, with text, licence, creator and
page, not yet fetched.
"""
