"""Questions over HTTP in, answers with their places in the documents out: an API and a page.

`create_app` of `kogemma_rag.web.app` makes the application; nothing heavy is loaded before.
"""
