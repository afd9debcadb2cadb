// Validates an AsyncAPI document: the count of its messages, or what is wrong with it and exit 1.
const fs = require('node:fs');
const { Parser } = require('@asyncapi/parser');

new Parser().parse(fs.readFileSync(process.argv[2], 'utf8')).then(({ document, diagnostics }) => {
  // 0 is an error, 1 a warning; hints on what else could be written are no fault.
  const wrong = diagnostics.filter((told) => told.severity === 0);
  for (const told of wrong) console.log(`${told.path.join('/')}: ${told.message}`);
  if (!document || wrong.length > 0) process.exit(1);
  console.log(`${document.allMessages().all().length} messages`);
});
