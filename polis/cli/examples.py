"""Examples for `--help` and the manual, by command. Every one is parsed by a test."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": (
        "polis up                             # from nothing, or from wherever it is, to healthy",
        "polis status                         # what holds, and what to type next",
        "polis -n other up                    # a second workspace beside the first",
    ),
    "up": (
        "polis up",
        "polis up --to images-pulled",
        "MY_API_KEY=... polis up --agent my-agent",
    ),
    "status": (
        "polis status --check                 # exits with 3 unless healthy",
        "polis status --watch 5",
        "polis status --format '{workspace}: {phase}'",
    ),
    "plan": ("polis plan", "polis plan --version v0.5.0 --check"),
    "reset": ("polis reset                          # one phase back", "polis reset --to launched"),
    "stop": ("polis stop", "polis stop --wait 30"),
    "delete": ("polis delete", "polis -n other delete --all --yes"),
    "exec": (
        "polis exec uname -a",
        "polis exec --service gate cat /etc/hostname",
        "polis exec cat < file",
    ),
    "shell": ("polis shell", "polis shell --service workspace"),
    "ssh-config": ("polis ssh-config > ~/.ssh/polis && ssh -F ~/.ssh/polis polis-polis",),
    "list": ("polis list", "polis list --json"),
    "history": ("polis history", "polis history --last 0 --json", "polis history --plot up.svg"),
    "doctor": ("polis doctor", "polis doctor --fix"),
    "completion": (
        "polis completion bash > ~/.local/share/bash-completion/completions/polis",
        'polis completion zsh > "${fpath[1]}/_polis"',
        "polis completion fish > ~/.config/fish/completions/polis.fish",
    ),
    "manual": ("polis manual > polis.1 && man ./polis.1",),
    "exit-codes": ("polis exit-codes", "polis exit-codes --json"),
    "version": ("polis version", "polis version --json"),
    "config": ("polis config show", "polis config init"),
    "config show": ("polis config show", "POLIS_CPUS=2 polis config show --json"),
    "config path": ("polis config path",),
    "config schema": ("polis config schema --write polis.schema.json",),
    "config init": ("polis config init",),
    "cloud-init": ("polis cloud-init show --diff", "polis cloud-init check"),
    "cloud-init show": ("polis cloud-init show", "polis cloud-init show --diff"),
    "cloud-init check": ("polis cloud-init check --cloud-init mine.yaml",),
    "bundle": ("polis bundle export workspace.tar",),
    "bundle export": ("polis bundle export workspace.tar    # then elsewhere: polis up --offline workspace.tar",),
    "bundle lock": ("polis bundle lock > images.lock",),
    "agent": ("polis agent new my-agent", "polis agent add ./my-agent", "polis up --agent my-agent"),
    "agent add": ("polis agent add ./my-agent", "polis agent add my-agent.tar --replace"),
    "agent list": ("polis agent list",),
    "agent show": ("polis agent show my-agent", "polis agent show my-agent --json"),
    "agent remove": ("polis agent remove my-agent",),
    "agent new": ("polis agent new my-agent", "polis agent new my-agent --in agents"),
    "logs": ("polis logs", "polis logs --service gate -f"),
    "support-bundle": ("polis support-bundle",),
    "graph": ("polis graph", "polis graph --output phases.svg"),
}
"""The lines for each command, with comments as a shell takes them."""
