//! A weight matrix where it lies: in the mapped file, in memory, or packed.

use std::sync::Arc;

use half::bf16;

use crate::error::Result;
use crate::kernels::{Layout, MatrixView};
use crate::quantize::{Packed, Precision, Width};
use crate::weights::{Stored, Weights};

/// A row-major matrix of weights.
#[derive(Debug)]
pub(super) struct Matrix {
    rows: usize,
    columns: usize,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// In a mapped file, used as it is.
    Mapped {
        weights: Arc<Weights>,
        location: crate::weights::Location,
        layout: Layout,
    },
    Floats(Vec<f32>),
    Halves(Vec<bf16>),
    Packed(Packed),
}

impl Matrix {
    /// The matrix `name` of a mapped file, kept as `precision` says.
    pub(super) fn open(
        weights: &Arc<Weights>,
        name: &str,
        shape: [usize; 2],
        precision: Precision,
    ) -> Result<Self> {
        let view = weights.expect(name, &shape)?;
        let location = weights.locate(name).expect("a tensor that was just found has a place");
        let layout = match view.stored {
            Stored::F32 => Layout::F32,
            Stored::Bf16 => Layout::Bf16,
            Stored::F16 => Layout::F16,
        };
        let as_it_is = match precision {
            Precision::F32 => true,
            Precision::Bf16 => view.stored != Stored::F32,
            Precision::Int8 | Precision::Int4 => false,
        };
        if as_it_is && cfg!(target_endian = "little") {
            let place = Place::Mapped { weights: Arc::clone(weights), location, layout };
            return Ok(Self { rows: shape[0], columns: shape[1], place });
        }
        Ok(Self::from_numbers(view.to_f32(), shape, precision))
    }

    /// A matrix in memory, kept as `precision` says.
    pub(super) fn from_numbers(numbers: Vec<f32>, shape: [usize; 2], precision: Precision) -> Self {
        let [rows, columns] = shape;
        let place = match precision {
            Precision::F32 => Place::Floats(numbers),
            Precision::Bf16 => Place::Halves(numbers.into_iter().map(bf16::from_f32).collect()),
            Precision::Int8 => Place::Packed(Packed::new(&numbers, columns, Width::Eight)),
            Precision::Int4 => Place::Packed(Packed::new(&numbers, columns, Width::Four)),
        };
        Self { rows, columns, place }
    }

    /// The matrix for the kernels.
    pub(super) fn view(&self) -> MatrixView<'_> {
        let (layout, bytes) = match &self.place {
            Place::Mapped { weights, location, layout } => (*layout, weights.slice(location)),
            Place::Floats(numbers) => (Layout::F32, bytemuck::cast_slice(numbers)),
            Place::Halves(numbers) => (Layout::Bf16, bytemuck::cast_slice(numbers)),
            Place::Packed(packed) => (Layout::Packed(packed.width()), packed.bytes()),
        };
        MatrixView { layout, rows: self.rows, columns: self.columns, bytes }
    }

    /// Writes one row's numbers to `out`.
    pub(super) fn copy_row(&self, row: usize, out: &mut [f32]) {
        if let Place::Packed(packed) = &self.place {
            packed.unpack_row(row, out);
            return;
        }
        let view = self.view();
        let row_bytes = view.layout.bytes(1, self.columns);
        crate::kernels::widen(view.layout, &view.bytes[row * row_bytes..(row + 1) * row_bytes], out);
    }
}
