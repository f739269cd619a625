/**
 * The shapes that the sandbox's member API speaks, as far as the page reads them. Types only; nothing runs here.
 *
 * @typedef {{id: string, username: string, display_name: string, color: string, bot: boolean}} User
 * @typedef {{id: string, name: string, topic?: string}} Channel
 * @typedef {{id: string, name: string, color: string}} Role
 * @typedef {{user_id: string, roles: string[], moderator: boolean}} Member
 *
 * @typedef {Object} Option  A slash command's option; types 1 and 2 are subcommands and their groups.
 * @property {number} type
 * @property {string} name
 * @property {string} description
 * @property {boolean} [required]
 * @property {{name: string, value: string|number}[]} [choices]
 * @property {boolean} [autocomplete]
 * @property {number} [min_value]
 * @property {number} [max_value]
 * @property {number} [min_length]
 * @property {number} [max_length]
 * @property {Option[]} [options]
 *
 * @typedef {{id: string, type: number, name: string, description: string, options?: Option[]}} Command
 * @typedef {{id: string, name: string, channels: Channel[], roles: Role[], members: Member[], commands: Command[]}} Guild
 * @typedef {{me: User, app: {id: string, name: string, online: boolean}, users: User[], guilds: Guild[], now: string}} World
 *
 * @typedef {Object} Attachment
 * @property {string} id
 * @property {string} filename
 * @property {string} [title]
 * @property {string} [description]
 * @property {number} size
 * @property {string} url
 * @property {string} [content_type]
 * @property {number} [width]
 * @property {number} [height]
 * @property {number} [flags]
 *
 * @typedef {{id?: string|null, name?: string|null}} Emoji
 * @typedef {{url: string, content_type?: string, width?: number, height?: number, attachment_id?: string}} Media
 * @typedef {{label: string, value: string, description?: string, emoji?: Emoji, default?: boolean}} Choice
 *
 * @typedef {Object} Component  One of Discord's message or modal components; `type` says which fields are there.
 * @property {number} type
 * @property {string} [custom_id]
 * @property {string} [label]
 * @property {string|null} [description]
 * @property {number} [style]
 * @property {boolean} [disabled]
 * @property {Emoji} [emoji]
 * @property {string} [url]
 * @property {Component[]} [components]
 * @property {Component} [component]
 * @property {Component} [accessory]
 * @property {string} [content]
 * @property {Choice[]} [options]
 * @property {{id: string, type: string}[]} [default_values]
 * @property {string} [placeholder]
 * @property {number} [min_values]
 * @property {number} [max_values]
 * @property {{media: Media, description?: string, spoiler?: boolean}[]} [items]
 * @property {Media} [media]
 * @property {Media} [file]
 * @property {string} [name]
 * @property {number} [size]
 * @property {boolean} [spoiler]
 * @property {boolean} [divider]
 * @property {number} [spacing]
 * @property {number|null} [accent_color]
 * @property {boolean} [required]
 * @property {boolean} [default]
 * @property {string|null} [value]
 * @property {number} [min_length]
 * @property {number} [max_length]
 *
 * @typedef {Object} Embed
 * @property {string} [title]
 * @property {string} [description]
 * @property {string} [url]
 * @property {number} [color]
 * @property {string} [timestamp]
 * @property {{name: string, url?: string}} [author]
 * @property {{name: string, value: string, inline?: boolean}[]} [fields]
 * @property {Media} [image]
 * @property {Media} [thumbnail]
 * @property {{text: string}} [footer]
 *
 * @typedef {Object} Message
 * @property {string} id
 * @property {string} channel_id
 * @property {{id: string, username: string, global_name?: string|null, bot?: boolean}} author
 * @property {string} content
 * @property {Attachment[]} attachments
 * @property {Embed[]} embeds
 * @property {Component[]} [components]
 * @property {{message_id?: string}} [message_reference]
 * @property {Message|null} [referenced_message]
 * @property {{id: string}[]} [mentions]
 * @property {string[]} [mention_roles]
 * @property {boolean} [mention_everyone]
 * @property {string} timestamp
 * @property {string|null} [edited_timestamp]
 * @property {number} [flags]
 * @property {{user?: {id: string}, type?: number}} [interaction_metadata]
 * @property {{name?: string}} [interaction]
 * @property {boolean} [ephemeral]
 *
 * @typedef {{interaction_id: string, custom_id: string, title: string, components: Component[]}} Modal
 * @typedef {{state: 'waiting'|'acknowledged'|'modal'|'failed', error?: string|null, modal?: Modal|null}} Outcome
 * @typedef {{upload_id: string, filename: string, size: number, content_type: string, url: string, width?: number, height?: number}} Uploaded
 * @typedef {{name: string, type: number, value?: string|number|boolean, focused?: boolean, options?: CommandOption[]}} CommandOption
 * @typedef {string|string[]|boolean|null} FieldValue  What one modal field submits.
 *
 * @typedef {Object} LiveEvent
 * @property {string} type
 * @property {Message} [message]
 * @property {string} [channel_id]
 * @property {string} [message_id]
 * @property {string} [user_id]
 * @property {string} [interaction_id]
 * @property {'acknowledged'|'modal'|'failed'} [state]
 * @property {string} [error]
 * @property {Modal} [modal]
 *
 * @typedef {import('./api.js').Api} Api
 * @typedef {import('./state.js').State} State
 * @typedef {import('./actions.js').Actions} Actions
 * @typedef {{api: Api, state: State, actions: Actions, say: (sentence: string) => void, composer?: import('./composer.js').Composer}} App
 *   What every view is handed: the way to the server, what the page knows, what a person can do, and a place for short notices.
 */
export {};
