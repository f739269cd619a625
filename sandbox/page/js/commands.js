/**
 * Slash commands as a person types them: flat names, filtering, and the nested options that the app receives. Pure.
 */

/** @import {Command, CommandOption, Option} from './types.js' */

export const OPTION = { subcommand: 1, group: 2, string: 3, integer: 4, boolean: 5, user: 6, channel: 7, role: 8, mentionable: 9, number: 10, attachment: 11 };

/**
 * One thing that can be typed after the slash.
 *
 * @typedef {Object} Leaf
 * @property {Command} command
 * @property {Option[]} path  the subcommand and its group, outermost first
 * @property {string} name  "my queue"
 * @property {string} description
 * @property {Option[]} options  required ones first
 */

/** @param {Command[]} commands @returns {Leaf[]} */
export function leaves(commands) {
  return commands
    .filter((command) => command.type === 1)
    .flatMap((command) => below(command, [], command.options ?? [], command.description))
    .sort((a, b) => a.name.localeCompare(b.name));
}

/** @param {Command} command @param {Option[]} path @param {Option[]} options @param {string} description @returns {Leaf[]} */
function below(command, path, options, description) {
  const nested = options.filter((option) => option.type === OPTION.subcommand || option.type === OPTION.group);
  if (nested.length > 0) return nested.flatMap((option) => below(command, [...path, option], option.options ?? [], option.description));
  const ordered = [...options].sort((a, b) => Number(b.required ?? false) - Number(a.required ?? false));
  return [{ command, path, name: [command.name, ...path.map((step) => step.name)].join(' '), description, options: ordered }];
}

/**
 * What fits the typed text: first names that begin with it, then names that hold it, then descriptions.
 *
 * @param {Leaf[]} all
 * @param {string} typed  without the slash
 * @returns {Leaf[]}
 */
export function matching(all, typed) {
  const wanted = typed.trim().toLowerCase();
  /** @param {Leaf} leaf */
  const rank = (leaf) => {
    if (leaf.name.startsWith(wanted)) return 0;
    if (leaf.name.includes(wanted)) return 1;
    return leaf.description.toLowerCase().includes(wanted) ? 2 : 3;
  };
  return all
    .map((leaf) => ({ leaf, rank: rank(leaf) }))
    .filter((one) => one.rank < 3)
    .sort((a, b) => a.rank - b.rank)
    .map((one) => one.leaf);
}

/**
 * @param {Leaf} leaf
 * @param {CommandOption[]} values
 * @returns {CommandOption[]} nested as the app expects them
 */
export function nested(leaf, values) {
  return leaf.path.reduceRight((inner, step) => [{ name: step.name, type: step.type, options: inner }], values);
}
