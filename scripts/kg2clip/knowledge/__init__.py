"""Stage `knowledge`: a SPARQL endpoint in Wikidata's shape in, `knowledge/entities.parquet` out."""
