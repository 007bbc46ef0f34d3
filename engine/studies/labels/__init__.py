"""Labels of singular directions read as tokens: by a language model behind an endpoint, and by hand."""
