/** `understudy completions`: scripts for shells, made from the commands themselves. */

import type { Command, Option } from "commander";
import { states } from "./wait.ts";

export type Shell = "bash" | "zsh" | "fish";

interface Entry {
  /** `status`, or `module list` */
  name: string;
  description: string;
  options: Flag[];
  /** its argument is a module's name */
  takesModule: boolean;
}

interface Flag {
  flag: string;
  description: string;
  takesValue: boolean;
}

/** The script for a shell. */
export function completions(program: Command, shell: Shell): string {
  const commands = program.commands.flatMap((command) => entries(command, ""));
  const globals = options(program);
  if (shell === "bash") return bash(commands, globals);
  return shell === "zsh" ? zsh(commands, globals) : fish(commands, globals);
}

function entries(command: Command, parent: string): Entry[] {
  const name = parent + command.name();
  const takesModule = command.registeredArguments.some((argument) => argument.name() === "module");
  const own = {
    name,
    description: command.description(),
    options: options(command),
    takesModule,
  };
  return [own, ...command.commands.flatMap((below) => entries(below, `${name} `))];
}

function options(command: Command): Flag[] {
  return command.options.filter((option) => !option.hidden).map((option: Option) => ({
    flag: option.long ?? option.short ?? "",
    description: option.description,
    takesValue: option.required || option.optional,
  }));
}

/** First words, and second words of those that have some. */
function words(commands: Entry[], parent: string): Entry[] {
  return commands.filter(({ name }) => {
    return name.startsWith(parent) && !name.slice(parent.length).includes(" ");
  });
}

const shells = "bash zsh fish";
const files = ["--config", "--token-file"];
const directories = ["--directory", "--state-dir"];

/** The modules that the agent has, the first word of each line. */
const modules = "understudy status 2>/dev/null </dev/null | cut -d' ' -f1";

function bash(commands: Entry[], globals: Flag[]): string {
  const flags = (list: Flag[]) => list.map((option) => option.flag).join(" ");
  const valued = [...globals, ...commands.flatMap((c) => c.options)]
    .filter((option) => option.takesValue).map((option) => option.flag);
  const cases = commands.map(({ name, options, takesModule }) => {
    const below = words(commands, `${name} `).map((c) => c.name.slice(name.length + 1));
    const choices = name === "completions" ? shells : below.join(" ");
    const more = takesModule ? ` $(${modules})` : "";
    return `    ${JSON.stringify(name)}) words="${choices}${more} ${flags(options)}" ;;`;
  });
  return `# bash completion of understudy; load it with: source <(understudy completions bash)
_understudy() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD - 1]}"
  local command="" word words="" i
  case "$previous" in
    ${files.join("|")}) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
    ${directories.join("|")}) mapfile -t COMPREPLY < <(compgen -d -- "$current"); return ;;
    --state) mapfile -t COMPREPLY < <(compgen -W "${states.join(" ")}" -- "$current"); return ;;
    --schema) mapfile -t COMPREPLY < <(compgen -W "agent module" -- "$current"); return ;;
  esac
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    case "$word" in
      ${[...new Set(valued)].join("|")}) ((i++)) ;;
      -*) ;;
      *)
        if [[ -z $command ]]; then command="$word"
        elif [[ $command == module ]]; then command="module $word"
        fi ;;
    esac
  done
  case "$command" in
    "") words="${words(commands, "").map((c) => c.name).join(" ")} help ${flags(globals)}" ;;
    help) words="${words(commands, "").map((c) => c.name).join(" ")}" ;;
${cases.join("\n")}
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words --help" -- "$current")
}
complete -F _understudy understudy
`;
}

function zsh(commands: Entry[], globals: Flag[]): string {
  const text = (value: string) => `'${value.replaceAll("'", "'\\''")}'`;
  const described = (name: string, description: string) =>
    text(`${name.replaceAll(":", "\\:")}:${description}`);
  const list = (found: Entry[], parent: string) =>
    found.map((c) => described(c.name.slice(parent.length), c.description)).join(" ");
  const spec = ({ flag, description, takesValue }: Flag) => {
    const what = files.includes(flag)
      ? ":file:_files"
      : directories.includes(flag)
      ? ":directory:_files -/"
      : flag === "--state"
      ? `:state:(${states.join(" ")})`
      : takesValue
      ? ":value:"
      : "";
    return text(`${flag}[${description.replace(/[[\]:]/g, "\\$&")}]${what}`);
  };
  const cases = commands.filter((c) => c.name !== "module").map((c) => {
    const argument = c.takesModule
      ? ["'*:module:_understudy_modules'"]
      : c.name === "completions"
      ? [`'1:shell:(${shells})'`]
      : [];
    const specs = [...c.options.map(spec), ...globals.map(spec), ...argument];
    return `    ${text(c.name)}) _arguments ${specs.join(" ")} ;;`;
  });
  return `#compdef understudy
# zsh completion of understudy; put it on your fpath as _understudy
_understudy_modules() {
  local -a modules
  modules=(\${(f)"$(${modules})"})
  compadd -a modules
}
_understudy() {
  local context state line
  local -a commands
  _arguments -C ${globals.map(spec).join(" ")} '1: :->command' '*:: :->rest'
  case $state in
  command)
    commands=(${list(words(commands, ""), "")})
    _describe command commands ;;
  rest)
    local command=$words[1]
    if [[ $command == module ]]; then
      if (( CURRENT == 2 )); then
        commands=(${list(words(commands, "module "), "module ")})
        _describe command commands
        return
      fi
      command="module $words[2]"
    fi
    case $command in
${cases.join("\n")}
    esac ;;
  esac
}
compdef _understudy understudy
`;
}

function fish(commands: Entry[], globals: Flag[]): string {
  const text = (value: string) => `'${value.replace(/['\\]/g, "\\$&")}'`;
  const option = (condition: string, { flag, description, takesValue }: Flag) => {
    const value = files.includes(flag)
      ? " -r -F"
      : directories.includes(flag)
      ? " -x -a '(__fish_complete_directories)'"
      : flag === "--state"
      ? ` -x -a '${states.join(" ")}'`
      : takesValue
      ? " -x"
      : "";
    return `complete -c understudy${condition} -l ${flag.slice(2)}${value} -d ${text(description)}`;
  };
  const lines = [
    "# fish completion of understudy; load it with: understudy completions fish | source",
    "complete -c understudy -f",
    ...globals.map((entry) => option("", entry)),
  ];
  for (const command of commands) {
    const [first, second] = command.name.split(" ");
    const inside = second === undefined
      ? ` -n '__fish_seen_subcommand_from ${first}'`
      : ` -n '__fish_seen_subcommand_from ${first}; and __fish_seen_subcommand_from ${second}'`;
    const place = second === undefined
      ? " -n '__fish_use_subcommand'"
      : ` -n '__fish_seen_subcommand_from ${first}'`;
    lines.push(
      `complete -c understudy${place} -a ${second ?? first} -d ${text(command.description)}`,
      ...command.options.map((entry) => option(inside, entry)),
    );
    if (command.takesModule) {
      lines.push(`complete -c understudy${inside} -a '(${modules.replaceAll("'", "\\'")})'`);
    }
    if (command.name === "completions") {
      lines.push(`complete -c understudy${inside} -a '${shells}'`);
    }
  }
  return `${lines.join("\n")}\n`;
}
