//! Tables as text: columns as wide as their widest cell, two blanks between them. Pure.

use super::server::printable;

/// A table with a head; empty where there are no rows. Cells come from files and servers and are made printable.
pub fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let head: Vec<String> = heads.iter().map(|&head| head.to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(head)
        .chain(rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()))
        .collect();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows =
            [["a", "long cell", "x\x1b"], ["größer", "", "y"]].map(|row| row.map(str::to_owned).to_vec());
        let expected = "A       B          C\na       long cell  x\\u{1b}\ngrößer             y\n";
        assert_eq!(table(&["A", "B", "C"], &rows), expected);
        assert_eq!(table(&["A"], &[]), "");
    }
}
