"""A run of an evaluation: what it measured, kept while it goes on, compared with another.

A run is one JSON object:

    kind        "retrieval" | "answers" | "kobest"
    format      1
    title       what was measured on what, in Korean, one line
    started     ISO 8601, with the offset; seconds: how long it took in all
    versions    name -> version, of Python, this package and what decides the figures
    machine     processor, cores, GPU or None
    data        name, fingerprint, and how many documents and questions
    settings    the options of the run
    systems     what was compared, in the order asked: each {name, settings, metrics, latency,
                index, tokens, ...}; metrics: name -> {value, low, high} with the bounds of a 95 %
                confidence interval; latency: {p50_ms, p95_ms}; index: {bytes, chunks, seconds}
    comparisons each {metric, a, b, difference, low, high, p}: a minus b, names of systems
    questions   each {id, question, answers, relevant: {id: grade}, results: {system: {...}}}
    documents   id -> {title, text}: of the documents that `questions` names
    notes       sentences, in Korean, that a reader must know

Keys that a kind has no use for are absent.
"""
