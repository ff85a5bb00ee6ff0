"""`polis completion`: the script that lets a shell complete commands, options and names."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from polis.cli import output
from polis.cli.session import globals_of, reporting


class Shell(StrEnum):
    """The shells that can be told."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"


def completion(
    context: typer.Context,
    shell: Annotated[Shell, typer.Argument(help="The shell that the script is for.")],
) -> None:
    """Print the script for completion in a shell.

    It completes commands, options and their values: the names of workspaces, phases, services, agents and drivers,
    and files. To have it now: `source <(polis completion bash)`, likewise zsh; `polis completion fish | source`;
    `polis completion powershell | Out-String | Invoke-Expression`. The examples keep it.
    """
    options = globals_of(context)
    with reporting(options):
        text = SCRIPTS[shell]
        if options.json:
            output.document({"schema": 1, "shell": shell.value, "script": text})
        else:
            print(text, end="")


BASH = """\
# bash completion for polis, 3.2 or newer
_polis() {
    local line current="$2"
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            :files)
                compopt -o filenames 2>/dev/null
                while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$current")
                ;;
            :none)
                [ ${#COMPREPLY[@]} -gt 0 ] || compopt +o default 2>/dev/null
                ;;
            *) COMPREPLY+=("${line%%$'\\t'*}") ;;
        esac
    done < <(_POLIS_COMPLETE=bash "$1" "${COMP_WORDS[@]:1:COMP_CWORD-1}" "${COMP_WORDS[COMP_CWORD]}" 2>/dev/null)
}
complete -o default -F _polis polis
"""

ZSH = """\
#compdef polis
_polis() {
    local line value
    local -a described
    local -i files=0
    while IFS= read -r line; do
        case $line in
            :files) files=1 ;;
            :none) ;;
            *)
                value=${line%%$'\\t'*}
                if [[ $line == *$'\\t'* ]]; then
                    described+=("${value//:/\\\\:}:${line#*$'\\t'}")
                else
                    described+=("${value//:/\\\\:}")
                fi
                ;;
        esac
    done < <(_POLIS_COMPLETE=zsh "${(Q)words[1]}" "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)
    (( ${#described} )) && _describe -V polis described
    if (( files )); then
        compset -P '--[^=]#='
        _files
    fi
}
if [[ ${funcstack[1]} == _polis ]]; then
    _polis "$@"
elif (( $+functions[compdef] )); then
    compdef _polis polis
fi
"""

FISH = """\
# fish completion for polis
function __polis_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l lines (env _POLIS_COMPLETE=fish $words[1] $words[2..-1] "$current" 2>/dev/null)
    for line in $lines
        switch $line
            case :files
                set -l option (string match -r -- '^--[^=]*=' "$current")
                for path in (__fish_complete_path (string replace -r -- '^--[^=]*=' '' "$current"))
                    echo "$option$path"
                end
            case :none
            case '*'
                echo $line
        end
    end
end
complete --command polis --no-files --arguments '(__polis_complete)'
"""

POWERSHELL = """\
# PowerShell completion for polis
Register-ArgumentCompleter -Native -CommandName polis -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $words = @($commandAst.CommandElements |
        Select-Object -Skip 1 |
        Where-Object { $_.Extent.EndOffset -lt $cursorPosition -or
            ($_.Extent.EndOffset -eq $cursorPosition -and $wordToComplete -eq '') } |
        ForEach-Object { if ($_.Value) { $_.Value } else { $_.Extent.Text } })
    $env:_POLIS_COMPLETE = 'powershell'
    $env:_POLIS_COMPLETE_WORD = $wordToComplete
    try {
        polis @words 2>$null | Where-Object { $_ -notlike ':*' } | ForEach-Object {
            $value, $text = $_ -split "`t", 2
            if (-not $text) { $text = $value }
            [System.Management.Automation.CompletionResult]::new($value, $value, 'ParameterValue', $text)
        }
    } finally {
        Remove-Item Env:_POLIS_COMPLETE, Env:_POLIS_COMPLETE_WORD -ErrorAction SilentlyContinue
    }
}
"""

SCRIPTS = {Shell.BASH: BASH, Shell.ZSH: ZSH, Shell.FISH: FISH, Shell.POWERSHELL: POWERSHELL}
