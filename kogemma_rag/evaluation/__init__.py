"""How good is it: KoBEST for a model, retrieval and answers for an index, by numbers."""
