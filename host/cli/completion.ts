/** Completion scripts for shells, made from the command table. */
import type { Argument, Command, Completion, Flag, Grammar } from "./command.ts";
import { ExitCode } from "./exit_codes.ts";
import type { Invocation } from "./invocation.ts";
import type { Output } from "./output.ts";

/** `dynamicfs completion SHELL` */
export function completion(invocation: Invocation, output: Output, grammar: Grammar): ExitCode {
  output.data(completionScript(invocation.one("SHELL"), grammar));
  return ExitCode.ok;
}

/** @param shell "bash", "zsh" or "fish". */
export function completionScript(shell: string, grammar: Grammar): string {
  const shown = { ...grammar, commands: grammar.commands.filter((command) => !command.hidden) };
  if (shell === "fish") return fishScript(shown);
  return shell === "zsh" ? zshScript(shown) : bashScript(shown);
}

/** Mount points, for arguments that name one. */
const MOUNTS = "dynamicfs mounts -H 2>/dev/null | cut -f1";

/**
 * One function for bash, which zsh runs through bashcompinit: first the command's words, then flags after a dash, then
 * what the command's arguments take.
 */
function bashScript({ commands, globalFlags }: Grammar): string {
  const firstWords = [...new Set(commands.map((command) => command.name.split(" ")[0]))];
  const groups = firstWords.filter((word) =>
    commands.some((each) => each.name.startsWith(`${word} `)),
  );
  const groupCases = groups.map((group) => {
    const seconds = commands
      .filter((command) => command.name.startsWith(`${group} `))
      .map((command) => command.name.split(" ")[1]);
    return `    ${group}) words="${seconds.join(" ")}" ;;`;
  });
  const commandCases = commands.map((command) => {
    const flags = [...command.flags, ...globalFlags].map((flag) => `--${flag.name}`).join(" ");
    return `    "${command.name}") flags="${flags}" words="${staticWords(command, commands)}" kinds="${kinds(command)}" ;;`;
  });
  const valueCases = [...valueFlags(commands, globalFlags)].map(([name, flag]) => {
    const reply =
      flag.complete === "file" || flag.complete === "directory"
        ? `COMPREPLY=($(compgen ${flag.complete === "file" ? "-f" : "-d"} -- "$cur"))`
        : "COMPREPLY=()";
    return `    ${name}) ${reply}; return ;;`;
  });
  return `# dynamicfs completion for bash
_dynamicfs() {
  local cur prev name="" flags="" words="" kinds="" word
  cur="\${COMP_WORDS[COMP_CWORD]}"
  prev="\${COMP_WORDS[COMP_CWORD-1]}"
  case "$prev" in
${valueCases.join("\n")}
  esac
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in
      -*) ;;
      *) if [ -z "$name" ]; then name="$word"; else case "$name" in ${groups.join("|")}) name="$name $word" ;; esac; fi ;;
    esac
  done
  case "$name" in
    "") words="${firstWords.join(" ")}" flags="${globalFlags.map((flag) => `--${flag.name}`).join(" ")}" ;;
${groupCases.join("\n")}
${commandCases.join("\n")}
  esac
  case "$cur" in
    -*) COMPREPLY=($(compgen -W "$flags" -- "$cur")); return ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  case "$kinds" in *mount*) COMPREPLY+=($(compgen -W "$(${MOUNTS})" -- "$cur")) ;; esac
  case "$kinds" in *file*) COMPREPLY+=($(compgen -f -- "$cur")) ;; esac
  case "$kinds" in *directory*) COMPREPLY+=($(compgen -d -- "$cur")) ;; esac
}
complete -o filenames -F _dynamicfs dynamicfs
`;
}

function zshScript(grammar: Grammar): string {
  return `#compdef dynamicfs
autoload -U +X bashcompinit && bashcompinit
${bashScript(grammar)}`;
}

function fishScript({ commands, globalFlags }: Grammar): string {
  const lines = ["# dynamicfs completion for fish", "complete -c dynamicfs -f"];
  for (const flag of globalFlags) lines.push(fishFlag("", flag));
  const firstWords = new Map<string, string>();
  for (const command of commands) {
    const [first = "", second] = command.name.split(" ");
    firstWords.set(first, second === undefined ? command.summary : `${first} commands`);
    if (second !== undefined) {
      lines.push(
        `complete -c dynamicfs -n "__fish_seen_subcommand_from ${first}" -a ${second} -d ${quote(command.summary)}`,
      );
    }
  }
  for (const [word, summary] of firstWords) {
    lines.push(`complete -c dynamicfs -n __fish_use_subcommand -a ${word} -d ${quote(summary)}`);
  }
  for (const command of commands) {
    const condition = `-n "__fish_seen_subcommand_from ${command.name.split(" ").at(-1)}" `;
    for (const flag of command.flags) lines.push(fishFlag(condition, flag));
    const wanted = kinds(command).split(" ");
    if (wanted.includes("file") || wanted.includes("directory")) {
      lines.push(`complete -c dynamicfs ${condition}-F`);
    }
    if (wanted.includes("mount")) {
      lines.push(`complete -c dynamicfs ${condition}-a "(${MOUNTS})"`);
    }
    const words = staticWords(command, commands);
    if (words !== "") lines.push(`complete -c dynamicfs ${condition}-a "${words}"`);
  }
  return `${lines.join("\n")}\n`;
}

function fishFlag(condition: string, flag: Flag): string {
  const short = flag.short === undefined ? "" : ` -s ${flag.short}`;
  const files = flag.complete === "file" || flag.complete === "directory";
  const value = flag.value === undefined ? "" : files ? " -r -F" : " -x";
  return `complete -c dynamicfs ${condition}-l ${flag.name}${short}${value} -d ${quote(flag.summary)}`;
}

/** Words that arguments can be: choices and commands' names. */
function staticWords(command: Command, commands: readonly Command[]): string {
  return command.arguments
    .flatMap((argument: Argument) => {
      if (argument.complete !== "command") return argument.choices ?? [];
      return commands.flatMap((each) => each.name.split(" "));
    })
    .join(" ");
}

function kinds(command: Command): string {
  const all = command.arguments.flatMap((argument) => argument.complete ?? []);
  return [...new Set<Completion>(all)].join(" ");
}

function valueFlags(commands: readonly Command[], globalFlags: readonly Flag[]): Map<string, Flag> {
  const flags = new Map<string, Flag>();
  for (const flag of [...globalFlags, ...commands.flatMap((command) => command.flags)]) {
    if (flag.value === undefined) continue;
    flags.set(flag.short === undefined ? `--${flag.name}` : `--${flag.name}|-${flag.short}`, flag);
  }
  return flags;
}

function quote(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
