// What an application does with ioredis, over the unix socket given as the argument. Called by tests/clients.rs.
'use strict';

const assert = require('node:assert');
const Redis = require('ioredis');

const path = process.argv[2];

function connect(options) {
  const r = new Redis({ path, maxRetriesPerRequest: 3, ...options });
  // A killed connection is an event here; the commands after it must still be answered.
  r.on('error', (error) => console.log(`event: ${error.message}`));
  return r;
}

async function strings(r) {
  assert.equal(await r.set('name', 'tandem'), 'OK');
  assert.equal(await r.get('name'), 'tandem');
  assert.equal(await r.set('name', 'x', 'NX'), null);
  assert.deepEqual(await r.mget('name', 'none'), ['tandem', null]);
  const blob = Buffer.alloc(3_000_000, 7);
  await r.set('blob', blob);
  assert.ok(blob.equals(await r.getBuffer('blob')));
  assert.equal(await r.incrby('n', 41), 41);
  assert.equal(await r.incr('n'), 42);
  await assert.rejects(r.incr('name'), /not an integer/);
  assert.deepEqual(await r.bitfield('bf', 'SET', 'u8', 0, 255, 'GET', 'u4', 0), [0, 15]);
}

async function pipelines(r) {
  const pipeline = r.pipeline();
  for (let i = 0; i < 3000; i++) pipeline.set(`p:${i}`, i).incr('count');
  const replies = await pipeline.exec();
  assert.equal(replies.length, 6000);
  assert.deepEqual(replies[5999], [null, 3000]);
  const found = new Set();
  for await (const keys of r.scanStream({ match: 'p:*', count: 200 })) keys.forEach((key) => found.add(key));
  assert.equal(found.size, 3000);
  assert.equal(await r.unlink(...found), 3000);
}

async function automaticPipelines() {
  const r = connect({ enableAutoPipelining: true });
  const answers = await Promise.all(Array.from({ length: 2000 }, (_, i) => r.set(`a:${i % 100}`, i)));
  assert.ok(answers.every((answer) => answer === 'OK'));
  assert.equal(await r.get('a:99'), '1999');
  r.disconnect();
}

async function channels(r) {
  const sub = connect();
  const got = [];
  const complete = new Promise((resolve) => {
    sub.on('message', (channel, message) => { if (got.push(message) === 300) resolve(); });
  });
  assert.equal(await sub.subscribe('news', 'other'), 2);
  for (let i = 0; i < 300; i++) assert.equal(await r.publish('news', `item ${i}`), 1);
  await complete;
  assert.deepEqual(got, Array.from({ length: 300 }, (_, i) => `item ${i}`));
  assert.equal(await sub.unsubscribe(), 0);
  sub.disconnect();
}

async function expiryEvents(r) {
  const sub = connect();
  const seen = [];
  const complete = new Promise((resolve) => {
    sub.on('message', (channel, key) => { if (seen.push(key) === 100) resolve(); });
  });
  await sub.subscribe('__keyevent@0__:expired');
  const keys = Array.from({ length: 100 }, (_, i) => `e:${i}`);
  await Promise.all(keys.map((key, i) => r.set(key, 'v', 'PX', 30 + i)));
  await complete;
  assert.deepEqual(seen.sort(), keys.sort());
  assert.equal(await r.exists(...keys), 0);
  sub.disconnect();
}

async function reconnects(r) {
  const id = await r.client('ID');
  const other = connect();
  assert.equal(await other.client('KILL', 'ID', id), 1);
  assert.equal(await r.get('name'), 'tandem');
  assert.notEqual(await r.client('ID'), id);
  other.disconnect();
}

async function main() {
  const r = connect({ db: 0, connectionName: 'node' });
  for (const work of [strings, pipelines, automaticPipelines, channels, expiryEvents, reconnects]) {
    await work(r);
    console.log(`${work.name}: done`);
  }
  assert.equal(await r.flushdb(), 'OK');
  await r.quit();
  console.log('all done');
}

setTimeout(() => { console.error('took longer than 60 s'); process.exit(1); }, 60_000).unref();
main().catch((error) => { console.error(error); process.exit(1); });
