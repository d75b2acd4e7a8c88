use std::{fmt, io::IsTerminal as _};

use crate::args::ColorChoice;

/// Whether each of the two outputs takes colours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint {
    out: bool,
    err: bool,
}

impl Paint {
    pub(crate) fn choose(choice: ColorChoice) -> Self {
        let auto = || {
            std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
                && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
        };
        match choice {
            ColorChoice::Always => Self { out: true, err: true },
            ColorChoice::Never => Self { out: false, err: false },
            ColorChoice::Auto => Self {
                out: auto() && std::io::stdout().is_terminal(),
                err: auto() && std::io::stderr().is_terminal(),
            },
        }
    }

    pub(crate) const fn out(self) -> Palette {
        Palette { on: self.out }
    }

    pub(crate) const fn err(self) -> Palette {
        Palette { on: self.err }
    }
}

/// Colours for one output, or none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Palette {
    on: bool,
}

macro_rules! colours {
    ($($name:ident = $code:literal),+ $(,)?) => {
        impl Palette {
            $(
                pub(crate) fn $name<T: fmt::Display>(self, text: T) -> Painted<T> {
                    Painted { text, code: self.on.then_some($code) }
                }
            )+
        }
    };
}

colours! { bold = "1", dim = "2", red = "31", green = "32", yellow = "33", blue = "34", magenta = "35", cyan = "36" }

impl Palette {
    pub(crate) const fn is_on(self) -> bool {
        self.on
    }

    #[cfg(test)]
    pub(crate) const fn plain() -> Self {
        Self { on: false }
    }
}

/// Text in a colour. Widths apply to the text, not to the escape codes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Painted<T> {
    text: T,
    code: Option<&'static str>,
}

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => {
                write!(f, "\x1b[{code}m")?;
                self.text.fmt(f)?;
                f.write_str("\x1b[0m")
            }
            None => self.text.fmt(f),
        }
    }
}
