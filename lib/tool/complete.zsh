#compdef PROGRAM
# Completion of PROGRAM for zsh.
_FUNCTION_complete() {
	local line files=0
	local -a found
	while IFS= read -r line; do
		if [[ $line == ":files" ]]; then
			files=1
		else
			local word="${line%%$'\t'*}" about=""
			[[ $line == *$'\t'* ]] && about="${line#*$'\t'}"
			found+=("${word//:/\\:}${about:+:$about}")
		fi
	done < <("${words[1]}" __complete zsh "${(@)words[2,CURRENT]}" 2>/dev/null)
	(( files )) && _files
	(( $#found )) && _describe 'PROGRAM' found
}
if [[ "${funcstack[1]}" == "_PROGRAM" ]]; then
	_FUNCTION_complete "$@"
else
	compdef _FUNCTION_complete PROGRAM
fi
