//! Rows of a Parquet data file (<https://parquet.apache.org/docs/file-format/>), column by column:
//! only the needed columns are read, a batch of rows at a time.

use std::fs::File;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parquet::basic::{ConvertedType, LogicalType, TimeUnit};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{BoolType, ByteArrayType, DataType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::schema::types::SchemaDescriptor;

use super::columns::{Cell, Columns, InventoryRow, MODIFIED};
use crate::error::{Error, Result};

/// Rows read from every column at a time.
const BATCH: usize = 1024;

/// Passes every row of `file` to `take`.
pub(super) fn read(file: File, mut take: impl FnMut(InventoryRow<'_>) -> Result<()>) -> Result<()> {
    let reader = SerializedFileReader::new(file).map_err(unread)?;
    let metadata = reader.metadata().file_metadata();
    let columns = columns(metadata.schema_descr()).map_err(Error::usage)?;
    let unit = columns.modified.map(|at| unit(metadata.schema_descr(), at)).transpose()?;
    let mut row = 0;
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).map_err(unread)?;
        let mut batch = RowGroup::open(&*group, &columns, unit)?;
        let mut left = usize::try_from(group.metadata().num_rows()).unwrap_or_default();
        while left > 0 {
            let rows = left.min(BATCH);
            batch.fill(rows)?;
            for _ in 0..rows {
                row += 1;
                let seen = batch.next();
                let seen = seen.map_err(|what| Error::invalid(format!("row {row}: {what}")))?;
                take(seen).map_err(|e| e.context(format_args!("row {row}")))?;
            }
            left -= rows;
        }
    }
    Ok(())
}

fn unread(error: ParquetError) -> Error {
    Error::invalid(format!("not readable as Parquet: {error}")).with_source(error)
}

fn columns(schema: &SchemaDescriptor) -> Result<Columns, String> {
    let leaves = schema.columns();
    // A column inside a group is a different one, whatever its own name.
    Columns::find(leaves.len(), |name| {
        leaves.iter().position(|leaf| leaf.path().parts() == [name.parquet])
    })
}

/// Units of a time in one second. S3 writes milliseconds.
fn unit(schema: &SchemaDescriptor, at: usize) -> Result<u32> {
    let leaf = schema.column(at);
    match (leaf.logical_type_ref(), leaf.converted_type()) {
        (Some(LogicalType::Timestamp(time)), _) => Ok(match time.unit {
            TimeUnit::MILLIS => 1_000,
            TimeUnit::MICROS => 1_000_000,
            TimeUnit::NANOS => 1_000_000_000,
        }),
        (None, ConvertedType::TIMESTAMP_MILLIS) => Ok(1_000),
        (None, ConvertedType::TIMESTAMP_MICROS) => Ok(1_000_000),
        _ => Err(Error::usage(format!("the column {} is not a time", MODIFIED.parquet))),
    }
}

/// The columns of one row group, each with the cells of some rows.
struct RowGroup {
    bucket: Column<ByteArrayType>,
    key: Column<ByteArrayType>,
    version: Option<Column<ByteArrayType>>,
    latest: Option<Column<BoolType>>,
    deleted: Option<Column<BoolType>>,
    size: Column<Int64Type>,
    /// With the number of its units in one second.
    modified: Option<(Column<Int64Type>, u32)>,
    etag: Option<Column<ByteArrayType>>,
    class: Option<Column<ByteArrayType>>,
}

impl RowGroup {
    fn open(group: &dyn RowGroupReader, columns: &Columns, unit: Option<u32>) -> Result<Self> {
        let bytes = |at: usize| {
            Column::open(group, at, |reader| match reader {
                ColumnReader::ByteArrayColumnReader(reader) => Some(reader),
                _ => None,
            })
        };
        let flag = |at: usize| {
            Column::open(group, at, |reader| match reader {
                ColumnReader::BoolColumnReader(reader) => Some(reader),
                _ => None,
            })
        };
        let number = |at: usize| {
            Column::open(group, at, |reader| match reader {
                ColumnReader::Int64ColumnReader(reader) => Some(reader),
                _ => None,
            })
        };
        let modified = columns.modified.map(number).transpose()?;
        Ok(Self {
            bucket: bytes(columns.bucket)?,
            key: bytes(columns.key)?,
            version: columns.version.map(bytes).transpose()?,
            latest: columns.latest.map(flag).transpose()?,
            deleted: columns.deleted.map(flag).transpose()?,
            size: number(columns.size)?,
            modified: modified.zip(unit),
            etag: columns.etag.map(bytes).transpose()?,
            class: columns.class.map(bytes).transpose()?,
        })
    }

    /// Reads the next `rows` of every column.
    fn fill(&mut self, rows: usize) -> Result<()> {
        self.bucket.fill(rows)?;
        self.key.fill(rows)?;
        self.size.fill(rows)?;
        for column in [&mut self.version, &mut self.etag, &mut self.class].into_iter().flatten() {
            column.fill(rows)?;
        }
        for column in [&mut self.latest, &mut self.deleted].into_iter().flatten() {
            column.fill(rows)?;
        }
        self.modified.as_mut().map_or(Ok(()), |(column, _)| column.fill(rows))
    }

    /// The next of the rows that have been read.
    fn next(&mut self) -> Result<InventoryRow<'_>, String> {
        let bucket = self.bucket.next().map_or(&[][..], |bytes| bytes.data());
        let key_bytes = self.key.next().map_or(&[][..], |bytes| bytes.data());
        let size = self.size.next().copied();
        let size = size.map(|size| u64::try_from(size).map_err(|_| "Size is negative"));
        let modified = match &mut self.modified {
            Some((column, unit)) => column.next().map(|time| date(*time, *unit)).transpose()?,
            None => None,
        };
        let version = match &mut self.version {
            Some(column) => text(column)?.map_or(Cell::Empty, Cell::Value),
            None => Cell::NoColumn,
        };
        Ok(InventoryRow {
            bucket,
            // Not encoded: only CSV inventories encode their keys.
            key: key_bytes.to_vec(),
            version,
            latest: flag(&mut self.latest),
            deleted: flag(&mut self.deleted),
            size: size.transpose()?,
            modified,
            etag: self.etag.as_mut().map(text).transpose()?.flatten(),
            class: self.class.as_mut().map(text).transpose()?.flatten(),
        })
    }
}

fn flag(column: &mut Option<Column<BoolType>>) -> Cell<bool> {
    match column {
        Some(column) => column.next().map_or(Cell::Empty, |value| Cell::Value(*value)),
        None => Cell::NoColumn,
    }
}

/// The next cell as a text; an empty text counts as no value, as in CSV.
fn text(column: &mut Column<ByteArrayType>) -> Result<Option<&str>, String> {
    let Some(bytes) = column.next() else { return Ok(None) };
    let text = bytes.as_utf8().map_err(|_| "a text is not UTF-8")?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn date(time: i64, per_second: u32) -> Result<SystemTime, String> {
    let per = u64::from(per_second);
    let units = time.unsigned_abs();
    let distance = Duration::from_secs(units / per)
        + Duration::from_nanos(units % per * (1_000_000_000 / per));
    let date = match time < 0 {
        true => UNIX_EPOCH.checked_sub(distance),
        false => UNIX_EPOCH.checked_add(distance),
    };
    date.ok_or_else(|| "LastModifiedDate is not a time".to_owned())
}

/// One column of a row group, with some of its cells.
struct Column<T: DataType> {
    reader: ColumnReaderImpl<T>,
    /// The level of a cell that has a value: 1 in a column whose cells may be empty, otherwise 0
    /// (<https://parquet.apache.org/docs/file-format/nestedencoding/>).
    present: i16,
    levels: Vec<i16>,
    values: Vec<T::T>,
    /// How many cells, and how many of their values, have been returned.
    given: (usize, usize),
}

impl<T: DataType> Column<T> {
    /// Column number `at`; fails if `typed` finds another type.
    fn open(
        group: &dyn RowGroupReader,
        at: usize,
        typed: impl Fn(ColumnReader) -> Option<ColumnReaderImpl<T>>,
    ) -> Result<Self> {
        let column = group.metadata().schema_descr().column(at);
        let reader = typed(group.get_column_reader(at).map_err(unread)?);
        match reader.filter(|_| column.max_rep_level() == 0 && column.max_def_level() <= 1) {
            Some(reader) => Ok(Self {
                reader,
                present: column.max_def_level(),
                levels: Vec::with_capacity(BATCH),
                values: Vec::with_capacity(BATCH),
                given: (0, 0),
            }),
            None => Err(Error::usage(format!(
                "the column {} has another type than in an S3 Inventory",
                column.name()
            ))),
        }
    }

    /// Reads the next `rows` cells.
    fn fill(&mut self, rows: usize) -> Result<()> {
        self.given = (0, 0);
        self.levels.clear();
        self.values.clear();
        let (levels, values) = (Some(&mut self.levels), &mut self.values);
        let (read, _, _) = self.reader.read_records(rows, levels, None, values).map_err(unread)?;
        match read == rows {
            true => Ok(()),
            false => Err(Error::invalid("a column ends before its row group does")),
        }
    }

    /// The next of the cells that have been read; `None` if it is empty.
    fn next(&mut self) -> Option<&T::T> {
        let (cell, value) = self.given;
        let present = self.present == 0 || self.levels.get(cell) == Some(&self.present);
        self.given = (cell + 1, value + usize::from(present));
        self.values.get(value).filter(|_| present)
    }
}
