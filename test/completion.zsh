#!/usr/bin/env -S zsh -f
# The completion for zsh, asked as a person asks it: an interactive zsh on a terminal of its own loads it with compinit, a
# line is typed, and what completing it offers is compared with the table of the tools (src/cli/cli.tbl).
# usage: test/completion.zsh PATH-OF-MOLDAU
emulate -L zsh
setopt err_return no_unset
zmodload zsh/zpty
root=${0:A:h:h}
moldau=${1:A}
work=$(mktemp -d)
trap 'rm -rf $work' EXIT
mkdir $work/functions $work/empty
$moldau completion zsh > $work/functions/_moldau

# What is offered goes into a file: compadd, by whatever function it is called, tells what it would add.
cat > $work/start <<END
PS1= RPS1= PROMPT_EOL_MARK=
unsetopt zle_bracketed_paste 2>/dev/null
cd $work/empty
fpath=($work/functions \$fpath)
autoload -Uz compinit
compinit -u -d $work/dump
compadd() {
  local -a offered
  builtin compadd -O offered "\$@"
  (( \$#offered == 0 )) || print -rl -- \$offered >> $work/offered
}
probe() { _main_complete; print -r -- "--end--" >> $work/offered; compstate[insert]= compstate[list]= }
zle -C probe complete-word probe
bindkey '^X' probe
print started > $work/offered
END

zpty shell "TERM=dumb zsh -f -i"
zpty -w shell "source $work/start"
wait_for() { # WORD: in the file
  local -i i
  for (( i = 0; i < 1000; i++ )) { grep -qx -e $1 $work/offered 2>/dev/null && return 0; sleep 0.02 }
  print -u2 "$1 did not come: $(zpty -r -t shell; true)"
  return 1
}
wait_for started

integer passed=0 failed=0
ask() { # LINE: what completing its end offers, in $offered
  : > $work/offered
  zpty -n -w shell $'\C-u'"$1"$'\C-x'
  wait_for --end--
  offered=(${(f)"$(grep -vx -e --end-- $work/offered || true)"})
}
hold() { # WHAT LINE EXPECTED...: exactly these
  local what=$1 line=$2
  shift 2
  ask $line
  if [[ ${(j: :)${(ou)offered}} == ${(j: :)${(ou)@}} ]]; then passed+=1
  else
    failed+=1
    print "$what: of \"$line\""
    print "  offered  ${(ou)offered}"
    print "  expected ${(ou)@}"
  fi
}

# The table: verbs, and of a tool its options.
table=$root/src/cli/cli.tbl
tools=(${(f)"$(sed -nE 's/^TOOL\([a-z0-9_]+, "([^"]+)".*/\1/p' $table)"})
options_of() { sed -nE "/^(TOOL|VERB)\\(.*\"$1\"/,/^END/s/^OPTION\\([A-Z]+, \"([^\"]+)\".*/--\\1/p" $table }
verbs_of() { sed -nE "s/^VERB\\($1, [a-z0-9_]+, \"([^\"]+)\".*/\\1/p" $table }

own=(server dev config help completion man)
hold "the verbs" "moldau " $own $tools
hold "a verb's beginning" "moldau console-" console-producer console-consumer
hold "options by the script's name" "kafka-topics.sh --" ${(f)"$(options_of topics)"}
hold "options by the verb" "moldau topics --" ${(f)"$(options_of topics)"}
hold "an option's beginning" "kafka-topics.sh --de" --delete --delete-config --describe
hold "behind other words" "kafka-topics.sh --list --boot" --bootstrap-server
hold "a tool's own verbs" "kafka-storage.sh f" format feature-dependencies
hold "options of a tool's own verb" "kafka-storage.sh format --" ${(fu)"$(options_of format)"} --help
hold "those of moldau's own" "moldau trace --" ${(f)"$(options_of trace)"}
for name in ${(f)"$(sed -nE 's/^TOOL\([a-z0-9_]+, "[^"]+", "([^"]+)".*/\1/p' $table)"}; do # every script has a completion
  ask "$name --he"
  if (( ${offered[(Ie)--help]} )); then passed+=1; else failed+=1; print "$name --he: offered $offered"; fi
done
zpty -d shell
print "$passed passed, $failed failed"
(( failed == 0 ))
