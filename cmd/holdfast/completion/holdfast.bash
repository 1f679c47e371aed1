# bash completion for holdfast
_holdfast() {
    local line=${COMP_LINE:0:COMP_POINT} cur tail candidate i
    local -a words
    # Bash breaks words at @ and =, which belong to ours: split at blanks alone.
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    cur=${words[-1]}
    # Readline replaces what follows the last break, and with it an @ that is one.
    for ((i = ${#cur}; i > 0; i--)); do
        tail=${cur:i-1:1}
        [[ $COMP_WORDBREAKS == *"$tail"* ]] || continue
        [[ $tail == @ ]] && ((i--))
        break
    done
    COMPREPLY=()
    while IFS= read -r candidate; do
        [[ $candidate == *[@=/] ]] && compopt -o nospace
        COMPREPLY+=("${candidate:i}")
    done < <("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
}
complete -o default -F _holdfast holdfast
