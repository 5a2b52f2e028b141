//! Variables that are refused because programs act on them by themselves.
//!
//! Such a variable changes which code runs although the commit is the same, so whoever may pass it could run code that no
//! approver has read. Most of the list is `initial_badenv_table` of sudo's `env.c` and glibc's `unsecvars.h`, without the
//! variables that only set a locale, a terminal or a directory. The rest is from the manuals of the programs.

/// The programs that act on variables, with those variables. A name that ends with `*` stands for all that begin so.
const REFUSED: [(&str, &[&str]); 10] = [
    // bash(1), zsh(1), ksh(1), POSIX sh. PS4 and PROMPT_COMMAND are expanded, with the commands in them.
    (
        "shells",
        &[
            "BASH_*",
            "BASHOPTS",
            "CDPATH",
            "ENV",
            "EXECIGNORE",
            "FPATH",
            "GLOBIGNORE",
            "IFS",
            "NULLCMD",
            "PATH",
            "POSIXLY_CORRECT",
            "PROMPT_COMMAND",
            "PS0",
            "PS1",
            "PS2",
            "PS3",
            "PS4",
            "READNULLCMD",
            "SHELL",
            "SHELLOPTS",
            "ZDOTDIR",
        ],
    ),
    // ld.so(8), musl, dyld(1), and the loaders of AIX, HP-UX and IRIX.
    (
        "loaders of programs",
        &[
            "DYLD_*",
            "GCONV_PATH",
            "GETCONF_DIR",
            "GLIBC_TUNABLES",
            "LDR_*",
            "LD_*",
            "LIBPATH",
            "LOCPATH",
            "NLSPATH",
            "OPENSSL_CONF",
            "OPENSSL_ENGINES",
            "OPENSSL_MODULES",
            "SHLIB_PATH",
            "_RLD*",
        ],
    ),
    // python(1), without those that only set how it prints.
    (
        "Python programs",
        &[
            "PYTHONBREAKPOINT",
            "PYTHONCASEOK",
            "PYTHONEXECUTABLE",
            "PYTHONHOME",
            "PYTHONINSPECT",
            "PYTHONPATH",
            "PYTHONPLATLIBDIR",
            "PYTHONPYCACHEPREFIX",
            "PYTHONSTARTUP",
            "PYTHONUSERBASE",
            "PYTHONWARNINGS",
        ],
    ),
    // perlrun(1).
    ("Perl programs", &["PERL5*", "PERLIO*", "PERLLIB", "PERL_*"]),
    // ruby(1).
    ("Ruby programs", &["RUBYLIB", "RUBYOPT", "RUBYPATH", "RUBYSHELL"]),
    // node(1).
    ("Node.js programs", &["NODE_OPTIONS", "NODE_PATH", "NODE_REPL_EXTERNAL_MODULE"]),
    // java(1), javac(1), and the launchers of Maven, Gradle, Ant and sbt.
    (
        "Java programs",
        &[
            "ANT_ARGS",
            "ANT_OPTS",
            "CLASSPATH",
            "GRADLE_OPTS",
            "JAVA_OPTS",
            "JAVA_TOOL_OPTIONS",
            "JDK_JAVAC_OPTIONS",
            "JDK_JAVA_OPTIONS",
            "MAVEN_ARGS",
            "MAVEN_OPTS",
            "SBT_OPTS",
            "_JAVA_OPTIONS",
        ],
    ),
    // .NET's startup hooks and profilers, php(1), lua(1), Rscript(1), julia(1), erl(1), tclsh(1).
    (
        "interpreters",
        &[
            "CORECLR_*",
            "COR_*",
            "DOTNET_ADDITIONAL_DEPS",
            "DOTNET_STARTUP_HOOKS",
            "ELIXIR_ERL_OPTIONS",
            "ERL_*",
            "JULIA_DEPOT_PATH",
            "JULIA_LOAD_PATH",
            "JULIA_PROJECT",
            "LUA_*",
            "PHPRC",
            "PHP_INI_SCAN_DIR",
            "R_ENVIRON*",
            "R_LIBS*",
            "R_PROFILE*",
            "TCLLIBPATH",
        ],
    ),
    // make(1), go(1), cargo(1).
    (
        "build tools",
        &["GNUMAKEFLAGS", "GOFLAGS", "MAKEFILES", "MAKEFLAGS", "MFLAGS", "RUSTC*", "RUSTDOC*", "RUSTFLAGS"],
    ),
    // environ(7): commands that other programs run.
    (
        "programs that run other programs",
        &["BROWSER", "EDITOR", "LESSCLOSE", "LESSOPEN", "MANPAGER", "PAGER", "SSH_ASKPASS", "VISUAL"],
    ),
];

/// Returns the programs that act on a variable by themselves, if any do.
pub(super) fn acted_on_by(name: &str) -> Option<&'static str> {
    let is_meant = |pattern: &&str| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == *pattern,
    };
    REFUSED.iter().find(|(_, patterns)| patterns.iter().any(is_meant)).map(|(programs, _)| *programs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_change_which_code_runs_are_known() {
        for (name, programs) in [
            ("BASH_ENV", "shells"),
            ("ENV", "shells"),
            ("IFS", "shells"),
            ("PATH", "shells"),
            ("PS4", "shells"),
            ("PROMPT_COMMAND", "shells"),
            ("LD_PRELOAD", "loaders of programs"),
            ("LD_AUDIT", "loaders of programs"),
            ("DYLD_INSERT_LIBRARIES", "loaders of programs"),
            ("PYTHONSTARTUP", "Python programs"),
            ("PYTHONWARNINGS", "Python programs"),
            ("PERL5OPT", "Perl programs"),
            ("RUBYOPT", "Ruby programs"),
            ("NODE_OPTIONS", "Node.js programs"),
            ("JAVA_TOOL_OPTIONS", "Java programs"),
            ("_JAVA_OPTIONS", "Java programs"),
            ("DOTNET_STARTUP_HOOKS", "interpreters"),
            ("MAKEFLAGS", "build tools"),
            ("EDITOR", "programs that run other programs"),
        ] {
            assert_eq!(acted_on_by(name), Some(programs), "{name}");
        }
    }

    #[test]
    fn variables_that_only_programs_of_the_commit_read_are_allowed() {
        for name in [
            "API_KEY",
            "ENVIRONMENT",
            "LOG_LEVEL",
            "NODE_ENV",
            "PYTHONUNBUFFERED",
            "RUST_LOG",
            "TZ",
            "LANG",
            "PATHS",
            "RAILS_ENV",
            "PIP_INDEX_URL",
            "CI",
            "PS5",
            "LDAP_URL",
            "PGPASSWORD",
            "JAVA_HOME",
            "GOOS",
        ] {
            assert_eq!(acted_on_by(name), None, "{name}");
        }
    }
}
