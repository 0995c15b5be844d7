// Writes the Parquet files of this folder, and pictures.json, which has what is in them:
// npm install @duckdb/node-api@1.5.6-r.1 parquet-wasm@0.8.0 apache-arrow hyparquet-writer@0.17.0; node make.mjs
import { writeFileSync } from 'node:fs';
import { deflateSync, crc32 } from 'node:zlib';
import * as arrow from 'apache-arrow';
import * as pq from 'parquet-wasm';
import { parquetWriteFile } from 'hyparquet-writer';
import { DuckDBInstance } from '@duckdb/node-api';

// png is a picture of 4 by 4 pixels of one colour.
function png(r, g, b) {
  const chunk = (type, body) => {
    const head = Buffer.alloc(4), data = Buffer.concat([Buffer.from(type), body]), tail = Buffer.alloc(4);
    head.writeUInt32BE(body.length);
    tail.writeUInt32BE(crc32(data) >>> 0);
    return Buffer.concat([head, data, tail]);
  };
  const header = Buffer.from([0, 0, 0, 4, 0, 0, 0, 4, 8, 2, 0, 0, 0]);
  const line = Buffer.from([0, ...[r, g, b], ...[r, g, b], ...[r, g, b], ...[r, g, b]]);
  return Buffer.concat([Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]), chunk('IHDR', header),
    chunk('IDAT', deflateSync(Buffer.concat([line, line, line, line]))), chunk('IEND', Buffer.alloc(0))]);
}

const n = 7;
const rows = [...Array(n).keys()].map(i => ({
  picture: i === 5 ? null : png(40 * (i % 4), 255 - 30 * (i % 4), 7), // 4 and 6 repeat 0 and 2
  path: `p${i}.png`,
  hash: `p${i}`,
  captions: i === 3 ? [] : i % 2 ? [`{Subject} ${i}`, `"another ünï ${i}"`] : [`{Subject} ${i}`],
  url: i === 2 ? null : `https://example.org/${i}`,
  family: i,
}));
writeFileSync('pictures.json', JSON.stringify(rows.map(r => ({ ...r, picture: r.picture && r.picture.toString('base64') })), null, 1) + '\n');

// Arrow in Rust.
const struct = new arrow.Struct([new arrow.Field('bytes', new arrow.Binary(), true), new arrow.Field('path', new arrow.Utf8(), true)]);
const list = new arrow.List(new arrow.Field('element', new arrow.Utf8(), true));
const huggingFace = () => new arrow.Table({
  image: arrow.vectorFromArray(rows.map(r => ({ bytes: r.picture, path: r.path })), struct),
  captions: arrow.vectorFromArray(rows.map(r => r.captions), list),
  url: arrow.vectorFromArray(rows.map(r => r.url), new arrow.Utf8()),
});
const ours = () => new arrow.Table({
  family: arrow.vectorFromArray(rows.map(r => BigInt(r.family)), new arrow.Int64()),
  image_hash: arrow.vectorFromArray(rows.map(r => r.hash), new arrow.Utf8()),
  caption: arrow.vectorFromArray(rows.map(r => r.captions[0] ?? null), new arrow.Utf8()),
  url_link: arrow.vectorFromArray(rows.map(r => r.url), new arrow.Utf8()),
});
function write(path, t, set = b => b) {
  const props = set(new pq.WriterPropertiesBuilder()).build();
  writeFileSync(path, pq.writeParquet(pq.Table.fromIPCStream(arrow.tableToIPC(t, 'stream')), props));
}
const v2 = b => b.setWriterVersion(pq.WriterVersion.V2);
write('rust_snappy.parquet', huggingFace(), b => b.setCompression(pq.Compression.SNAPPY));
write('rust_groups_v2.parquet', huggingFace(), b => v2(b).setCompression(pq.Compression.ZSTD).setMaxRowGroupSize(2));
write('rust_pages.parquet', huggingFace(), b => b.setCompression(pq.Compression.GZIP).setDictionaryEnabled(false)
  .setDataPageSizeLimit(150).setWriteBatchSize(1).setMaxRowGroupSize(5));
write('rust_delta.parquet', huggingFace(), b => v2(b).setDictionaryEnabled(false));
write('rust_rows.parquet', ours(), b => b.setCompression(pq.Compression.SNAPPY));

// Hyparquet, in JavaScript: bytes in a column of their own.
parquetWriteFile({
  filename: 'js_plain.parquet', codec: 'UNCOMPRESSED', rowGroupSize: 3,
  columnData: [
    { name: 'key', data: rows.map(r => r.hash), type: 'STRING' },
    { name: 'jpg', data: rows.map(r => r.picture ? new Uint8Array(r.picture) : null), type: 'BYTE_ARRAY', encoding: 'PLAIN' },
    { name: 'caption', data: rows.map(r => r.captions[0] ?? null), type: 'STRING' },
    { name: 'url', data: rows.map(r => r.url), type: 'STRING' },
  ],
});

// DuckDB, in C++.
const db = await (await DuckDBInstance.create(':memory:')).connect();
await db.run(`create table t as select * from (values ${rows.map(r =>
  `(${r.family}, {'bytes': ${r.picture ? `from_hex('${r.picture.toString('hex')}')` : 'null::blob'}, 'path': '${r.path}'},
    ${r.captions[0] ? `'${r.captions[0]}'` : 'null'}, ${r.url ? `'${r.url}'` : 'null'})`).join(',')}) as v(n, image, "text", url)`);
for (const [name, codec] of [['duckdb_snappy', 'snappy'], ['duckdb_zstd', 'zstd'], ['duckdb_gzip', 'gzip'], ['duckdb_plain', 'uncompressed']]) {
  await db.run(`copy (select * exclude n from t order by n) to '${name}.parquet' (format parquet, codec ${codec})`);
}
