//! A Rust file as the tidy rules see it: its public names, its prose, and the identifiers it uses.

use anyhow::{Context as _, Result};
use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};

/// A piece of a file and the line it stands on, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The line.
    pub line: usize,
    /// The text.
    pub text: String,
}

/// What a file holds before its tests.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// Names other crates can see.
    pub public_names: Vec<Piece>,
    /// Documentation, comments and string literals.
    pub prose: Vec<Piece>,
    /// Paths such as `SystemTime::now` and single identifiers.
    pub identifiers: Vec<Piece>,
    /// Items that are neither `mod name;` nor `use`, for a `lib.rs`.
    pub other_items: Vec<Piece>,
    /// Lines before the tests.
    pub line_count: usize,
}

impl Source {
    /// Reads a file's text, up to its `#[cfg(test)] mod … {`.
    ///
    /// # Errors
    /// When it is not Rust.
    pub fn parse(text: &str) -> Result<Self> {
        let text = before_tests(text);
        let file = syn::parse_file(text).context("not valid Rust")?;
        let mut source = Self { line_count: text.lines().count(), ..Self::default() };
        source.visit_file(&file);
        source.comments(text);
        source.tokens(text.parse().ok().context("not valid Rust")?);
        source.other_items = file.items.iter().filter(|item| !is_listing(item)).map(piece_of_item).collect();
        source.prose.sort_by_key(|piece| piece.line);
        Ok(source)
    }

    /// Comments that are not documentation, when they have a line of their own.
    fn comments(&mut self, text: &str) {
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_start();
            let comment = line.strip_prefix("//").filter(|rest| !rest.starts_with(['/', '!']));
            if let Some(comment) = comment {
                self.prose.push(Piece { line: index + 1, text: comment.trim().to_owned() });
            }
        }
    }

    /// Documentation and string literals, also inside of macros; identifiers, with what follows a `::`.
    fn tokens(&mut self, stream: TokenStream) {
        let mut path: Option<Piece> = None;
        let mut colons = 0;
        for token in stream {
            match token {
                TokenTree::Ident(ident) => {
                    let line = ident.span().start().line;
                    let joined = match path.take() {
                        Some(before) if colons == 2 => format!("{}::{ident}", before.text),
                        _ => ident.to_string(),
                    };
                    let last = joined.rsplitn(3, "::").take(2).collect::<Vec<_>>();
                    let text = last.into_iter().rev().collect::<Vec<_>>().join("::");
                    self.identifiers.push(Piece { line, text });
                    path = Some(Piece { line, text: ident.to_string() });
                    colons = 0;
                    continue;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Literal(literal) => {
                    if let Some(text) = string(&literal.to_string()) {
                        self.prose.push(Piece { line: literal.span().start().line, text });
                    }
                }
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Punct(_) => {}
            }
            path = None;
            colons = 0;
        }
    }

    fn public(&mut self, visibility: &syn::Visibility, name: &syn::Ident) {
        if matches!(visibility, syn::Visibility::Public(_)) {
            self.name(name);
        }
    }

    fn name(&mut self, name: &syn::Ident) {
        self.public_names.push(Piece { line: name.span().start().line, text: name.to_string() });
    }
}

impl<'ast> Visit<'ast> for Source {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.public(&item.vis, &item.sig.ident); // nothing inside a body is public
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.public(&item.vis, &item.sig.ident);
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.public(&item.vis, &item.ident);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.public(&item.vis, &item.ident);
        visit::visit_item_struct(self, item);
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if let Some(name) = &field.ident {
            self.public(&field.vis, name);
        }
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.public(&item.vis, &item.ident);
        if matches!(item.vis, syn::Visibility::Public(_)) {
            for variant in &item.variants {
                self.name(&variant.ident);
                for name in variant.fields.iter().filter_map(|field| field.ident.as_ref()) {
                    self.name(name);
                }
            }
        }
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.public(&item.vis, &item.ident);
        if matches!(item.vis, syn::Visibility::Public(_)) {
            for inner in &item.items {
                match inner {
                    syn::TraitItem::Fn(function) => self.name(&function.sig.ident),
                    syn::TraitItem::Const(constant) => self.name(&constant.ident),
                    syn::TraitItem::Type(kind) => self.name(&kind.ident),
                    _ => {}
                }
            }
        }
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.public(&item.vis, &item.ident);
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.public(&item.vis, &item.ident);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.public(&item.vis, &item.ident);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.public(&item.vis, &item.ident);
        visit::visit_item_mod(self, item);
    }
}

/// The text up to a `#[cfg(test)]` that is followed by a module with a body, which ends a file here.
fn before_tests(text: &str) -> &str {
    let mut start = 0;
    let mut lines = text.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        let next = lines.peek().map_or("", |next| next.trim_end());
        if line.trim_end() == "#[cfg(test)]" && next.starts_with("mod ") && next.ends_with('{') {
            return &text[..start];
        }
        start += line.len();
    }
    text
}

fn is_listing(item: &syn::Item) -> bool {
    matches!(item, syn::Item::Mod(module) if module.content.is_none()) || matches!(item, syn::Item::Use(_))
}

fn piece_of_item(item: &syn::Item) -> Piece {
    Piece { line: item.span().start().line, text: "an item".to_owned() }
}

/// What a string literal says, or `None` for another literal; escapes are left as they are.
fn string(literal: &str) -> Option<String> {
    let literal = literal.trim_start_matches('r').trim_matches('#');
    let inner = literal.strip_prefix('"')?.strip_suffix('"')?;
    Some(inner.to_owned())
}
