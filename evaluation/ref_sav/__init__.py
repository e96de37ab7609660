"""Scripts for Ref-SAV's eval: long and short captions of objects in films."""
