// node-postgres through a transaction-mode pooler: a pool larger than the server's, named statements, errors.
'use strict'
const assert = require('node:assert/strict')
const { Client, Pool } = require('pg')

async function worker (number) {
  const client = new Client()
  await client.connect()
  for (let count = 0; count < 60; count++) {
    const marker = `${number}/${count}`
    const plain = await client.query(`SELECT '${marker}' AS v`)
    assert.equal(plain.rows[0].v, marker)
    const unnamed = await client.query('SELECT $1::text AS v', [marker])
    assert.equal(unnamed.rows[0].v, marker)
    // Every client's statement of this name has another text.
    const named = await client.query({ name: 'same-name', text: `SELECT '${number}/' || $1 AS v`, values: [marker] })
    assert.equal(named.rows[0].v, `${number}/${marker}`)
    if (count % 10 === 0) {
      await client.query('BEGIN')
      await client.query("SELECT set_config('sluice.owner', $1, true)", [marker])
      assert.equal((await client.query('SHOW sluice.owner')).rows[0]['sluice.owner'], marker)
      await client.query('COMMIT')
    }
    if (count % 15 === 0) {
      await assert.rejects(client.query('SELECT $1::int', ['not a number']), { code: '22P02' })
    }
  }
  await client.end()
}

async function main () {
  await Promise.all(Array.from({ length: 8 }, (_, number) => worker(number)))
  const pool = new Pool({ max: 8 })
  const values = await Promise.all(Array.from({ length: 200 }, (_, n) => pool.query('SELECT $1::int AS n', [n])))
  assert.deepEqual(values.map((result) => result.rows[0].n), Array.from({ length: 200 }, (_, n) => n))
  await pool.end()
  console.log('all assertions held')
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
