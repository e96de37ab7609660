"""Who is asked what: benchmarks, questions, answers, and what chat prints and writes."""
