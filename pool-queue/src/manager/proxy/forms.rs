//! The forms of functions that can be called on hosted values. Never written by users: the compiler infers them.

macro_rules! forms {
    ($($name:ident $text:literal),* $(,)?) => {
        $(
            #[doc = $text]
            #[derive(Debug)]
            pub struct $name;
        )*
    };
}

forms!(
    Changing "`fn(&mut T, A) -> R`.",
    Reading "`fn(&T, A) -> R`.",
    ChangingAlone "`fn(&mut T) -> R`.",
    ReadingAlone "`fn(&T) -> R`.",
    ChangingWithTwo "`fn(&mut T, A, B) -> R`.",
    ReadingWithTwo "`fn(&T, A, B) -> R`.",
    ChangingWithThree "`fn(&mut T, A, B, C) -> R`.",
    ReadingWithThree "`fn(&T, A, B, C) -> R`.",
);
