/* cli/pages.c - completion for bash and zsh, and manual pages: made from cli.tbl.
 *
 *     moldau completion bash > /etc/bash_completion.d/moldau
 *     moldau completion zsh  > "${fpath[1]}/_moldau"
 *     moldau man /usr/share/man/man1
 */
#include "cli/tools.h"
#include "base/assert.h"
#include <ctype.h>
#include <errno.h>
#include <string.h>

enum { PATH_BYTES_MAX = 4096 };

static bool has_verbs(int i) { return i + 1 < TOOLS_COUNT && cli_tools[i + 1].parent == i; }

/* What a verb takes: its own options and its tool's. */
static void print_options(const struct tool *tool, const char *between, FILE *out) {
    for (uint32_t k = 0; k < tool->count; k++) fprintf(out, "%s--%s", between, tool->options[k].name);
    if (tool->parent >= 0) print_options(&cli_tools[tool->parent], between, out);
}

/* ---- completion -------------------------------------------------------------------------------------------------------------- */

/* A case of the shell for each tool, by its script's name and by its verb; for those with verbs one for each of them. */
static void print_cases(FILE *out) {
    for (int i = 0; i < TOOLS_COUNT; i++) {
        const struct tool *tool = &cli_tools[i];
        if (tool->parent >= 0) continue;
        fprintf(out, "    %s", tool->name);
        if (tool->script) fprintf(out, "|%s|%.*s", tool->script, (int)strlen(tool->script) - 3, tool->script);
        fprintf(out, ")\n");
        if (!has_verbs(i)) {
            fprintf(out, "      words=\"");
            print_options(tool, " ", out);
            fprintf(out, "\" ;;\n");
            continue;
        }
        fprintf(out, "      case \"$verb\" in\n");
        for (int v = i + 1; v < TOOLS_COUNT && cli_tools[v].parent == i; v++) {
            fprintf(out, "        %s) words=\"", cli_tools[v].name);
            print_options(&cli_tools[v], " ", out);
            fprintf(out, "\" ;;\n");
        }
        fprintf(out, "        *) words=\"");
        for (int v = i + 1; v < TOOLS_COUNT && cli_tools[v].parent == i; v++) fprintf(out, "%s ", cli_tools[v].name);
        print_options(tool, " ", out);
        fprintf(out, "\" ;;\n      esac ;;\n");
    }
}

static void print_names(const char *between, bool scripts, FILE *out) {
    for (int i = 0; i < TOOLS_COUNT; i++)
        if (cli_tools[i].parent < 0 && (!scripts || cli_tools[i].script)) fprintf(out, "%s%s", between, scripts ? cli_tools[i].script : cli_tools[i].name);
}

/* Which verb of its own the tool was given: the first word that is one. */
static void print_body(FILE *out) {
    fprintf(out, "  case \"$tool\" in\n    moldau) words=\"server dev config help completion man");
    print_names(" ", false, out);
    fprintf(out, "\" ;;\n");
    print_cases(out);
    fprintf(out, "  esac\n");
}

static void print_bash(FILE *out) {
    fprintf(out, "# Completion of moldau and of Kafka's tools for bash. Made by `moldau completion bash`.\n"
                 "_moldau() {\n"
                 "  local at=1 tool=\"${COMP_WORDS[0]##*/}\" verb= words= i\n"
                 "  if [ \"$tool\" = moldau ] && [ \"$COMP_CWORD\" -gt 1 ]; then tool=\"${COMP_WORDS[1]}\"; at=2; fi\n"
                 "  for ((i = at; i < COMP_CWORD; i++)); do\n"
                 "    case \"${COMP_WORDS[i]}\" in");
    const char *between = " ";
    for (int i = 0; i < TOOLS_COUNT; i++)
        if (cli_tools[i].parent >= 0) {
            fprintf(out, "%s%s", between, cli_tools[i].name);
            between = "|";
        }
    fprintf(out, ") verb=\"${COMP_WORDS[i]}\"; break ;; esac\n  done\n");
    print_body(out);
    fprintf(out, "  COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n"
                 "}\n"
                 "complete -o default -F _moldau moldau");
    print_names(" ", true, out);
    fprintf(out, "\n");
}

static void print_zsh(FILE *out) {
    fprintf(out, "#compdef moldau");
    print_names(" ", true, out);
    fprintf(out, "\n# Completion of moldau and of Kafka's tools for zsh. Made by `moldau completion zsh`.\n"
                 "_moldau() {\n"
                 "  local at=2 tool=\"${words[1]:t}\" verb= i given\n"
                 "  given=(\"${words[@]}\")\n"
                 "  local words=\n"
                 "  if [[ \"$tool\" = moldau && $CURRENT -gt 2 ]]; then tool=\"${given[2]}\"; at=3; fi\n"
                 "  for ((i = at; i < CURRENT; i++)); do\n"
                 "    case \"${given[i]}\" in");
    const char *between = " ";
    for (int i = 0; i < TOOLS_COUNT; i++)
        if (cli_tools[i].parent >= 0) {
            fprintf(out, "%s%s", between, cli_tools[i].name);
            between = "|";
        }
    fprintf(out, ") verb=\"${given[i]}\"; break ;; esac\n  done\n");
    print_body(out);
    fprintf(out, "  compadd -- ${=words}\n  _files\n}\n_moldau \"$@\"\n");
}

int completion_run(int argc, char **argv) {
    const char *shell = argc == 1 ? argv[0] : "";
    if (strcmp(shell, "bash") == 0) print_bash(stdout);
    else if (strcmp(shell, "zsh") == 0) print_zsh(stdout);
    else {
        fprintf(stderr, "usage: moldau completion bash|zsh\n");
        return 1;
    }
    return 0;
}

/* ---- manual pages ---------------------------------------------------------------------------------------------------------------- */

/* A dash is no minus, a backslash no escape, and a line that begins with a dot or a quote is text. */
static void print_roff(const char *text, FILE *out) {
    if (*text == '.' || *text == '\'') fputs("\\&", out);
    for (; *text; text++) {
        if (*text == '-') fputs("\\-", out);
        else if (*text == '\\') fputs("\\e", out);
        else fputc(*text, out);
    }
}

static void print_man_options(const struct tool *tool, FILE *out) {
    for (uint32_t k = 0; k < tool->count; k++) {
        const struct option *option = &tool->options[k];
        fprintf(out, ".TP\n.B ");
        if (option->letter) fprintf(out, "\\-%c, ", option->letter);
        fputs("\\-\\-", out);
        print_roff(option->name, out);
        if (option->kind != OPTION_FLAG) {
            static const char *const kinds[] = {"", "text", "text", "text", "text", "number", "number"};
            fprintf(out, " \\fI");
            print_roff(option->argument[0] ? option->argument : kinds[option->kind], out);
            fprintf(out, "\\fR");
        }
        fputc('\n', out);
        print_roff(option->help, out);
        if (option->preset && option->preset[0]) {
            fputs(" Default: ", out);
            print_roff(option->preset, out);
            fputc('.', out);
        }
        fputc('\n', out);
    }
}

static void print_man(int i, FILE *out) {
    const struct tool *tool = &cli_tools[i];
    fprintf(out, ".TH MOLDAU\\-");
    for (const char *at = tool->name; *at; at++) fprintf(out, *at == '-' ? "\\-" : "%c", toupper((unsigned char)*at));
    fprintf(out, " 1\n.SH NAME\nmoldau\\-");
    print_roff(tool->name, out);
    fprintf(out, " \\- ");
    print_roff(tool->about, out);
    fprintf(out, "\n.SH SYNOPSIS\n.B moldau ");
    print_roff(tool->name, out);
    fprintf(out, "%s\n[\\fIoption\\fR]...\n", has_verbs(i) ? " \\fIverb\\fR" : "");
    if (tool->script) {
        fprintf(out, ".br\n.B ");
        print_roff(tool->script, out);
        fprintf(out, "%s\n[\\fIoption\\fR]...\n", has_verbs(i) ? " \\fIverb\\fR" : "");
    }
    fprintf(out, ".SH DESCRIPTION\n");
    print_roff(tool->about, out);
    if (tool->script) fprintf(out, "\nOptions and output are those of Apache Kafka's tool.");
    fprintf(out, "\n.SH OPTIONS\n");
    print_man_options(tool, out);
    for (int v = i + 1; v < TOOLS_COUNT && cli_tools[v].parent == i; v++) {
        fprintf(out, ".SH VERB ");
        print_roff(cli_tools[v].name, out);
        fputc('\n', out);
        print_roff(cli_tools[v].about, out);
        fputc('\n', out);
        print_man_options(&cli_tools[v], out);
    }
    fprintf(out, ".SH SEE ALSO\n.BR moldau (1)\n");
}

static void print_man_of_all(FILE *out) {
    fprintf(out, ".TH MOLDAU 1\n.SH NAME\nmoldau \\- Apache Kafka in one small program\n.SH SYNOPSIS\n.B moldau server \\fIFILE\\fR [\\-\\-override \\fIkey=value\\fR]...\n.br\n"
                 ".B moldau dev \\fR[\\-\\-dir \\fIDIR\\fR] [\\-\\-port \\fIN\\fR]\n.br\n.B moldau \\fItool\\fR [\\fIoption\\fR]...\n.SH DESCRIPTION\n"
                 "A node by a Kafka server.properties, a node without one, and Kafka's command\\-line tools.\n.SH TOOLS\n");
    for (int i = 0; i < TOOLS_COUNT; i++) {
        if (cli_tools[i].parent >= 0) continue;
        fprintf(out, ".TP\n.BR moldau\\-");
        print_roff(cli_tools[i].name, out);
        fprintf(out, " (1)\n");
        print_roff(cli_tools[i].about, out);
        fputc('\n', out);
    }
}

/* i < 0: the page of them all. */
static bool write_page(const char *dir, int i) {
    char path[PATH_BYTES_MAX];
    snprintf(path, sizeof path, i < 0 ? "%s/moldau%s.1" : "%s/moldau-%s.1", dir, i < 0 ? "" : cli_tools[i].name);
    FILE *out = fopen(path, "w");
    if (!out) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return false;
    }
    if (i < 0) print_man_of_all(out);
    else print_man(i, out);
    return fclose(out) == 0;
}

int man_run(int argc, char **argv) {
    if (argc != 1) {
        fprintf(stderr, "usage: moldau man DIR\n");
        return 1;
    }
    bool ok = write_page(argv[0], -1);
    for (int i = 0; ok && i < TOOLS_COUNT; i++)
        if (cli_tools[i].parent < 0) ok = write_page(argv[0], i);
    return ok ? 0 : 1;
}
