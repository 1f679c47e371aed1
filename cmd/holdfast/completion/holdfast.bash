# bash completion for holdfast
_holdfast() {
    local line=${COMP_LINE:0:COMP_POINT} cur prefix candidate
    local -a words
    # Bash breaks words at @ and =, which belong to ours: split at blanks alone.
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    cur=${words[-1]}
    prefix=${cur%"${cur##*[@=:]}"}
    COMPREPLY=()
    while IFS= read -r candidate; do
        [[ $candidate == *[@=] ]] && compopt -o nospace
        COMPREPLY+=("${candidate#"$prefix"}")
    done < <("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
}
complete -o default -F _holdfast holdfast
