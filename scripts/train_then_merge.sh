# Sourced by the scripts beside it, which say the recipe. Trains with the flags that they pass on, under the launcher of
# run_train.sh, and merges what was trained into one folder, compared with the trained model. Relative paths are the caller's.
#
#   SAVE_DIR    where the run and the merged model go (default outputs): $SAVE_DIR/logs/<recipe>, $SAVE_DIR/model.
#               It stands for --log_base_dir and --exp_name, which are refused: the merge looks there
SEGLM_ROOT=$(CDPATH= cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
SAVE_DIR=${SAVE_DIR:-outputs}

seglm_train_then_merge() {
    local recipe=$1 word
    shift
    case " $* " in
        *" --help "* | *" -h "* | *" --list "*) exec bash "$SEGLM_ROOT/run_train.sh" --recipe "$recipe" "$@" ;;
    esac
    for word in "$@"; do
        case "${word//-/_}" in
            __exp_name | __exp_name=* | __log_base_dir | __log_base_dir=*)
                echo "$word: what is merged is looked for in $SAVE_DIR/logs/$recipe; set SAVE_DIR (now $SAVE_DIR) instead" >&2
                exit 2 ;;
        esac
    done
    if [ -e "$SAVE_DIR/model" ]; then
        echo "$SAVE_DIR/model is there already; move it away, or set another SAVE_DIR" >&2
        exit 2
    fi
    bash "$SEGLM_ROOT/run_train.sh" --recipe "$recipe" "$@" --log_base_dir "$SAVE_DIR/logs" --exp_name "$recipe"
    . "$SEGLM_ROOT/evaluation/environment.sh"
    "$PYTHON" "$SEGLM_ROOT/merge_lora_weights_and_save_hf_model.py" --weight "$SAVE_DIR/logs/$recipe/portable" \
        --save_path "$SAVE_DIR/model"
}
