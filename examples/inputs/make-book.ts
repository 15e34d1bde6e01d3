/**
 * Writes book.txt: a tale of some 60,000 words about a lighthouse, a harbour and the people in them. Own work.
 *
 * A grammar expands `{symbols}` into phrases, drawn by a seeded source; early phrases of a list come more often, as a few
 * words of any language carry most of its text (Zipf). It reads like a book of its kind, and means as little as it can.
 */
import { seededRandom } from '#base/seeded-random.ts'

export const bookSize = { chapters: 44, paragraphsMin: 22, paragraphsMax: 34 }

const LINE_CHARACTERS = 72

const grammar: Readonly<Record<string, readonly string[]>> = {
  person: ['Marten', 'Ilse', 'the keeper', 'old Harrow', 'the captain', 'Brother Aske', 'the harbour master', 'Wenna', 'the boy', 'the widow Lund', 'Doctor Pell', 'the pilot', 'Jorun', "the smith's daughter"],
  they: ['he', 'she', 'they', 'nobody', 'the others', 'everyone on the quay'],
  place: ['the lighthouse', 'the harbour', 'the quay', 'the upper room', 'the sea wall', 'the village', 'the long stair', 'the chapel', 'the salt meadow', 'the boathouse', 'the far skerry', 'the market', "the carpenter's yard", 'the old customs house'],
  thing: ['lamp', 'letter', 'boat', 'rope', 'chart', 'bell', 'ledger', 'lantern', 'key', 'coat', 'anchor', 'clock', 'net', 'oar', 'barrel', 'mirror', 'sextant', 'knife', 'sealed box', 'almanac'],
  things: ['waves', 'gulls', 'boats', 'letters', 'stones', 'ropes', 'lamps', 'clouds', 'nets', 'voices', 'years', 'herring', 'shadows', 'bells'],
  nature: ['the wind', 'the sea', 'the rain', 'the fog', 'the light', 'the tide', 'the moon', 'the storm', 'the frost', 'the evening'],
  quality: ['old', 'small', 'cold', 'quiet', 'dark', 'heavy', 'strange', 'bright', 'broken', 'patient', 'grey', 'honest', 'empty', 'weathered', 'ordinary', 'unfinished', 'iron', 'forgotten'],
  feeling: ['fear', 'hope', 'patience', 'grief', 'wonder', 'anger', 'shame', 'relief', 'curiosity'],
  manner: ['slowly', 'without a word', 'at last', 'carefully', 'as before', 'in silence', 'once more', 'against all advice', 'like a man half asleep', 'with both hands', 'for the first time in years'],
  went: ['went', 'walked', 'came', 'climbed', 'hurried', 'returned', 'was sent', 'rowed'],
  did: ['took', 'carried', 'found', 'kept', 'lost', 'mended', 'sold', 'hid', 'remembered', 'set down', 'looked for', 'asked for', 'forgot'],
  moved: ['rose', 'fell', 'turned', 'came in from the west', 'went out', 'grew', 'waited', 'lay over {place}', 'had not moved for {count} days', 'beat upon the glass', 'smelled of {town}'],
  thought: ['thought', 'knew', 'said', 'believed', 'had heard', 'wrote', 'feared', 'understood'],
  spoke: ['said', 'said', 'asked', 'answered', 'whispered', 'repeated', 'called', 'cried', 'muttered'],
  time: ['in the morning', 'that night', 'on the third day', 'before the winter', 'in the year of the great storm', 'after supper', 'at the turn of the tide', 'on Sunday', 'toward evening', 'while the lamp was being trimmed', 'long ago', 'by noon'],
  count: ['two', 'three', 'seven', 'a dozen', 'forty', 'more than a hundred', 'nine'],
  reason: ['because {nature} {moved}', 'for {they} had no {quality} {thing}', 'since {person} {did} the {thing}', 'though {they} knew better', 'and not for {feeling} alone', 'as one does when {nature} {moved}'],
  vessel: ['brig', 'schooner', 'lugger', 'collier', 'mail boat'],
  relative: ['brother', 'cousin', 'sister', 'creditor', 'daughter'],
  town: ['{first}{last}', '{first}{last}', 'the parish of {first}{last}'],
  ship: ['{first}', 'Queen of {first}{last}', 'Good Intent', '{quality} Maiden'],
  first: ['Skar', 'Nor', 'Hal', 'Ulf', 'Brim', 'Aster', 'Kell', 'Tors', 'Grim', 'Sand', 'Lund', 'Hvit', 'Mar', 'Fal', 'Ryd', 'Eske', 'Vind', 'Storm', 'Birk', 'Ode', 'Win', 'Kar', 'Thorn', 'Ald', 'Berg', 'Dun', 'Fen', 'Gar', 'Hol', 'Ing'],
  last: ['vik', 'holm', 'ness', 'by', 'fjord', 'mouth', 'stad', 'wick', 'haven', 'sund', 'ey', 'strand', 'toft', 'dale', 'berg', 'thwaite', 'ford', 'gate'],
  clause: [
    '{person} {did} the {thing}', '{person} {went} to {place}', '{nature} {moved}', '{person} {did} a {quality} {thing} near {place}', 'there was a {quality} {thing} in {place}',
    '{they} {thought} that {nature} would not last', 'the {quality} {thing} was gone', 'there were {count} {things} over {place}', '{person} thought of {feeling} and of {place}', 'the {vessel} {ship}, of {town}, lay below {place}', '{person} had a {relative} in {town}',
    'the {thing} at {place} was as {quality} as it had been {time}', '{person} and {person} {went} to {place} together', 'it was the {thing}, and not the {thing}, that {person} {did}',
  ],
  sentence: [
    '{clause}.', '{clause}, and {clause}.', '{time}, {clause}.', '{clause}, {reason}.', '{clause}; {clause}.', '{person} {went} {manner} to {place}, where {clause}.', 'when {nature} {moved}, {clause}.',
    'it is said in the village that {clause}.', 'of all the {things} of that year, {person} {did} only the {thing}.', 'nothing at {place} was {quality}, except that {clause}.', 'if {clause}, {person} did not speak of it.',
    'the {thing} was {quality}; the {things} were {quality}; and {manner} {nature} {moved}.', 'for {count} days {nature} {moved}, and {they} {did} what {things} there were.', 'was it {feeling}?', 'nobody spoke of {town} any more.', '{clause}, {manner}, and {clause}.', '{person} could not have said whether {clause} or {clause}.',
  ],
  remark: [
    'the {thing} is where it always was', 'I have seen {count} winters here, and {clause}', 'you should not have gone to {place}', 'who {did} the {thing}', 'there is no {feeling} in it', 'ask {person}', "it's only {nature}",
    "we'll need the {thing} before {nature} turns", "I don't believe that {clause}", 'listen to the {things}', 'they heard of it in {town}', 'keep the {quality} {thing}, then', 'the light must not go out',
  ],
  speech: ['"{remark}," {spoke} {person}.', '"{remark}," {spoke} {person} {manner}. "{remark}."', '"{remark}?" {spoke} {person}.', '{person} {spoke}: "{remark}; {remark}."', '"{remark}," {person} {spoke}, and {clause}.', '"{remark}."'],
}

export function writeBook(): string {
  const random = seededRandom(1859)
  const parts = ['THE LIGHT ON THE FAR SKERRY', 'A Tale of the Northern Coast']
  for (let chapter = 1; chapter <= bookSize.chapters; chapter++) {
    parts.push(`CHAPTER ${chapter}`, wrap(`In which ${polish(expand('clause', random)).replace(/^The |^There |^It /, (start) => start.toLowerCase())}`))
    const paragraphs = whole(bookSize.paragraphsMin, bookSize.paragraphsMax, random)
    for (let at = 0; at < paragraphs; at++) parts.push(wrap(random() < 0.35 ? dialogue(random) : paragraph(random)))
  }
  return `${parts.join('\n\n')}\n\nTHE END\n`
}

function paragraph(random: () => number): string {
  return Array.from({ length: whole(2, 7, random) }, () => polish(expand('sentence', random))).join(' ')
}

function dialogue(random: () => number): string {
  return Array.from({ length: whole(1, 4, random) }, () => polish(expand('speech', random))).join(' ')
}

function expand(symbol: string, random: () => number): string {
  const phrases = grammar[symbol]!
  const phrase = phrases[Math.floor(random() ** 1.6 * phrases.length)]!
  return phrase.replaceAll(/\{(\w+)\}/g, (_all, inner: string) => expand(inner, random))
}

/** What a grammar without context gets wrong: "a old", and small letters where a sentence or a speech begins. */
function polish(text: string): string {
  return text.replaceAll(/\ba (?=[aeiou])/g, 'an ').replaceAll(/^"?[a-z]|[.?] "?[a-z]|: "[a-z]/g, (start) => start.toUpperCase())
}

function wrap(text: string): string {
  return text.replaceAll(new RegExp(`(.{1,${LINE_CHARACTERS}})(?: |$)`, 'g'), '$1\n').trimEnd()
}

function whole(min: number, max: number, random: () => number): number {
  return min + Math.floor(random() * (max - min + 1))
}
