// Writes the Parquet files of this folder: npm install parquet-wasm@0.8.0 apache-arrow; node make_parquet.mjs
// parquet-wasm is the Rust implementation of Apache Arrow.
import { readFileSync, writeFileSync } from 'node:fs';
import * as arrow from 'apache-arrow';
import * as pq from 'parquet-wasm';

const raw = readFileSync('values.f8');
const f8 = new Float64Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.length));
const rows = [...Array(5).keys()].map(i => [...f8.slice(3 * i, 3 * i + 3)]);
const ids = ['a1b2', 'c3', 'ünï', '名前', 'e'];
const captions = ['{Subject} growing', '', 'two 🙂 faces', 'x', 'a longer caption than the others'];
const urls = [0, 1, 2, 3, 4].map(i => `https://example.org/${i}`);

function table(type, names) {
  const list = new arrow.List(new arrow.Field('element', type, true));
  return new arrow.Table({
    [names[1]]: arrow.vectorFromArray(ids, new arrow.Utf8()),
    score: arrow.vectorFromArray([1, 2, 3, 4, 5], new arrow.Int32()), // a column of something else
    [names[0]]: arrow.vectorFromArray(rows, list),
    [names[2]]: arrow.vectorFromArray(captions.map(c => c || null), new arrow.Utf8()),
    [names[3]]: arrow.vectorFromArray(urls, new arrow.Utf8()),
  });
}

function write(path, t, set = b => b) {
  const props = set(new pq.WriterPropertiesBuilder()).build();
  const wasm = pq.Table.fromIPCStream(arrow.tableToIPC(t, 'stream'));
  writeFileSync(path, pq.writeParquet(wasm, props));
}

const one = ['embedding', 'image_id', 'caption', 'url_link'];
const many = ['embeddings', 'image_ids', 'captions', 'url_links'];
write('f4.parquet', table(new arrow.Float32(), one));
write('f8_zstd.parquet', table(new arrow.Float64(), many), b => b.setCompression(pq.Compression.ZSTD));
write('f2_gzip.parquet', table(new arrow.Float16(), one), b => b.setCompression(pq.Compression.GZIP));
write('v2_groups.parquet', table(new arrow.Float32(), one), b =>
  b.setCompression(pq.Compression.SNAPPY).setWriterVersion(pq.WriterVersion.V2).setMaxRowGroupSize(2));
write('plain.parquet', table(new arrow.Float64(), one), b => b.setDictionaryEnabled(false));
write('delta.parquet', table(new arrow.Float32(), one), b => b.setWriterVersion(pq.WriterVersion.V2).setDictionaryEnabled(false));
write('brotli.parquet', table(new arrow.Float32(), one), b => b.setCompression(pq.Compression.BROTLI));
write('integers.parquet', table(new arrow.Int32(), one));
