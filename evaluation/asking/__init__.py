"""Who is asked what: benchmarks, questions, answers, the controls beside a model, and what chat prints and writes."""
