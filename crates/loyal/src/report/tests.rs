//! Pages as a reader gets them.

use super::*;

fn hostile() -> &'static str {
    "<script>alert(\"1\")</script>&'\u{0}\u{1b}"
}

fn full(text: &str) -> String {
    let points = (0..2000).map(|i| (f64::from(i), (f64::from(i) / 300.0).sin()));
    let series = [
        Series { name: text.to_owned(), points: points.collect() },
        Series { name: "gap".to_owned(), points: vec![(0.0, 1.0), (5.0, f64::NAN), (9.0, 2.0), (12.0, 2.5)] },
    ];
    let plot = Plot { caption: text, x_label: text, y_label: text, series: &series, limits: &[(text, 0.5)] };
    let pairs = [(text, vec![1.0, -2.0]), ("after", vec![3.0, f64::NAN])];
    Page::new(text)
        .card(&Card { name: text, value: text, note: text, verdict: Verdict::Pass })
        .card(&Card { name: "second", value: "2", note: "", verdict: Verdict::Fail })
        .section(text)
        .paragraph(text)
        .verbatim(text)
        .table(text, &[text, "n"], &[vec![text.to_owned(), "12,000".to_owned()]])
        .line_plot(&plot)
        .scatter(&plot)
        .bars(&Bars { caption: text, y_label: text, groups: &[text, "b"], series: &pairs })
        .histogram(&Histogram { caption: text, x_label: text, series: &pairs })
        .details(text, |page| {
            page.paragraph(text).card(&Card { name: text, value: "3", note: "", verdict: Verdict::Neutral })
        })
        .finish()
}

/// Every opened element is closed, in order.
fn check_balance(html: &str) {
    let void = ["meta", "!DOCTYPE", "line", "rect", "circle", "polyline"];
    let mut open = Vec::new();
    for piece in html.split('<').skip(1) {
        let (tag, _) = piece.split_once('>').expect("every tag ends");
        let name = tag.split([' ', '/']).find(|part| !part.is_empty()).unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "before </{name}>");
        } else if !void.contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn all_text_is_escaped() {
    let html = full(hostile());
    assert!(!html.contains("<script"));
    assert!(!html.contains("alert(\""));
    assert!(!html.contains('\u{0}') && !html.contains('\u{1b}'));
    assert!(html.contains("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;"));
    check_balance(&html);
}

#[test]
fn a_page_asks_nobody_for_anything() {
    let html = full("plain");
    for foreign in ["http:", "https:", "url(", "@import", "src=", "href=", "<script", "<link", "NaN", "inf"] {
        assert!(!html.contains(foreign), "{foreign}");
    }
    assert!(html.contains("default-src 'none'"));
    check_balance(&html);
}

#[test]
fn cards_stand_together_and_say_how_they_stand() {
    let html = full("plain");
    let cards = html.split("<ul class=\"cards\">").nth(1).unwrap().split("</ul>").next().unwrap();
    assert_eq!(cards.matches("<li").count(), 2);
    // Not by colour alone.
    assert!(cards.contains("passed") && cards.contains("failed"));
}

#[test]
fn columns_of_numbers_are_aligned() {
    let html = Page::new("t").table("c", &["who", "n"], &[vec!["a".to_owned(), "1.5 %".to_owned()]]).finish();
    assert!(html.contains("<td>a</td><td class=\"number\">1.5 %</td>"), "{html}");
}

#[test]
fn drawings_speak() {
    let html = full("plain");
    assert_eq!(html.matches("role=\"img\"").count(), 4);
    assert!(html.contains("gap: from 1 to 2.5"));
    assert!(html.contains("after: plain 3"));
}

#[test]
fn a_gap_cuts_the_line_and_long_lines_are_thinned() {
    let html = full("plain");
    assert_eq!(html.matches("<polyline").count(), 3);
    assert!(html.len() < 60_000, "{}", html.len());
}

#[test]
fn nothing_to_draw_is_said() {
    let empty = [Series { name: "a".to_owned(), points: vec![(f64::NAN, 1.0)] }];
    let plot = Plot { caption: "c", x_label: "x", y_label: "y", series: &empty, limits: &[] };
    let none = [("a", Vec::new())];
    let html = Page::new("t")
        .line_plot(&plot)
        .scatter(&Plot { series: &[], ..plot })
        .bars(&Bars { caption: "c", y_label: "y", groups: &[], series: &none })
        .histogram(&Histogram { caption: "c", x_label: "x", series: &none })
        .finish();
    assert_eq!(html.matches("No figures.").count(), 4);
    check_balance(&html);
}
