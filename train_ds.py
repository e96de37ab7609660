"""Train, or with --eval_only score, any recipe: `bash run_train.sh --recipe lisa_7b ...` starts it under the launcher."""
